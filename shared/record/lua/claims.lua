-- A worker's claim on a job, and the windows that it finishes.

local function attempt(job_id)
  local losses, crashes = get(job_id, 'worker_losses', 'engine_crashes')
  return 1 + tonumber(losses) + tonumber(crashes)
end

-- Inference adds up over all claims of a job; a repeated or late report takes nothing away.
local function record_inference(job_id, inference_ms)
  local known = tonumber(get(job_id, 'inference_ms') or 0)
  set(job_id, 'inference_ms', int(math.max(known, inference_ms)))
end

-- queued -> running, for the first job or, in its turn, the first batch job. Args: worker_id, lease_ms, engine, model,
-- is_interactive_only (claim no batch job). Returns the claim, or nothing if no job is queued. A worker that holds a live lease gets the same claim again, since
-- the first reply may have been lost.
function commands.claim(args)
  local worker_id, engine, model = args.worker_id, args.engine, args.model

  -- The engine and model of the last claim are those of the job. Text of earlier ones gets a warning.
  local function record_engine(job_id)
    local old_engine, old_model, since_s, processed_s = get(job_id, 'engine', 'model', 'engine_since_s', 'processed_s')
    if old_engine == engine and old_model == model then return end
    local start_s, end_s = tonumber(since_s or 0), tonumber(processed_s)
    if old_engine and end_s > start_s then
      local message = string.format(
        'The text of %.2f s to %.2f s was decoded by %s (%s), before the job went to another engine or model.',
        start_s, end_s, old_engine, old_model)
      redis.call('RPUSH', key(keys.warnings, job_id),
        cjson.encode({code = 'engine_changed', message = message, start_s = start_s, end_s = end_s}))
    end
    set(job_id, 'engine', engine, 'model', model, 'engine_since_s', processed_s)
  end

  local function grant(job_id)
    grant_lease(keys.running, job_id, args.lease_ms)
    local claim_no, new_job, windows, resume_sample, audio_start, inference_ms =
      get(job_id, 'claim_no', 'new_job', 'windows', 'resume_sample', 'audio_start', 'inference_ms')
    return {tonumber(claim_no), attempt(job_id), new_job, tonumber(windows), tonumber(resume_sample),
      audio_start or false, tonumber(inference_ms or 0), redis.call('LINDEX', key(keys.segments, job_id), -1)}
  end

  local function choose_job()
    local batch_job = not args.is_interactive_only and first_batch_job()
    if batch_job and windows_since_batch() >= WINDOWS_UNTIL_BATCH then return batch_job end
    local below = args.is_interactive_only and '(' .. int(BATCH * CLASS) or '+inf'
    return redis.call('ZRANGEBYSCORE', key(keys.queued), '-inf', below, 'LIMIT', 0, 1)[1]
  end

  if not is_record_open() then return false end
  local held = redis.call('HGET', key(keys.held), worker_id)
  if held then return grant(held) end
  local job_id = choose_job()
  if not job_id then return false end
  local score = read_score(job_id)
  pass_virtual_time(score)
  redis.call('ZREM', key(keys.unclaimed), job_id)
  leave_queue(job_id)
  redis.call('HSET', key(keys.held), worker_id, job_id)
  redis.call('HINCRBY', key(keys.job, job_id), 'claim_no', 1)
  set(job_id, 'state', 'running', 'owner', worker_id, 'turn_from_s', get(job_id, 'processed_s'))
  redis.call('HDEL', key(keys.job, job_id), 'is_turn_over', 'is_counted_ahead')
  if class_of(score) == BATCH then begin_batch_turn() else count_interactive_claim(job_id) end
  redis.call('HSETNX', key(keys.job, job_id), 'started_ms', int(now_ms()))
  record_engine(job_id)
  publish(job_id, cjson.encode({type = 'started', attempt = attempt(job_id), engine = engine, model = model}))
  return grant(job_id)
end

-- Keep a finished window: its segments replace its partials in the log, and the job resumes after it.
-- Args: job_id, window, resume_sample, processed_s, progress (JSON text), segments and warnings (lists of JSON texts),
-- is_complete, inference_ms, audio_start (JSON text), token_counts (absent if unknown). A repeated call changes nothing.
local function keep_window(args)
  local job_id = args.job_id

  -- The speed of inference over recent windows; each older window weighs a twentieth less.
  local function measure_speed()
    local processed_s, measured_ms = get(job_id, 'processed_s', 'measured_ms')
    local audio_s = args.processed_s - tonumber(processed_s or 0)
    local inference_s = (args.inference_ms - tonumber(measured_ms or 0)) / 1000
    set(job_id, 'measured_ms', int(args.inference_ms))
    if audio_s <= 0 or inference_s <= 0 then return end
    local sums = redis.call('HMGET', key(keys.speed), 'audio_s', 'inference_s')
    redis.call('HSET', key(keys.speed), 'audio_s', string.format('%.6f', 0.95 * tonumber(sums[1] or 0) + audio_s),
      'inference_s', string.format('%.6f', 0.95 * tonumber(sums[2] or 0) + inference_s))
  end

  record_inference(job_id, args.inference_ms)
  if args.window < tonumber(get(job_id, 'windows')) then return end
  drop_partials(job_id)
  for _, segment in ipairs(args.segments) do
    redis.call('RPUSH', key(keys.segments, job_id), segment)
    log_event(job_id, '{"type":"segment","segment":' .. segment .. '}')
  end
  for _, warning in ipairs(args.warnings) do redis.call('RPUSH', key(keys.warnings, job_id), warning) end
  if not args.is_complete then set(job_id, 'incomplete', 1) end
  if not args.token_counts then set(job_id, 'has_uncounted', 1) end
  for name, count in pairs(args.token_counts or {}) do
    redis.call('HINCRBY', key(keys.job, job_id), 'tokens_' .. name, int(count))
  end
  measure_speed()
  set(job_id, 'windows', int(args.window + 1), 'resume_sample', int(args.resume_sample),
    'audio_start', args.audio_start, 'processed_s', args.processed_s)
  publish(job_id, args.progress)
  if class_of(read_score(job_id)) ~= BATCH then count_interactive_window(job_id) end
end

-- Keep a finished window of a job that goes on. Args: job_id, claim_no, batch_turn_s (0: batch jobs have no turns), and
-- those of `keep_window`. Returns a directive; no other command returns `yield`.
function commands.finish_window(args)
  if not holds_claim(args) then return 'stale' end
  local job_id = args.job_id

  -- An idle worker takes what waits. A worker not seen for 5 s, longer than a healthy one is silent, does not count.
  local function count_idle_workers()
    local idle = 0
    for worker_id, state in pairs(read_model_states(5000)) do
      local is_held = redis.call('HEXISTS', key(keys.held), worker_id) == 1
      if not is_held and string.sub(state, 1, 1) == '1' then idle = idle + 1 end
    end
    return idle
  end

  -- The turn is over if a job waits whose place comes before the place that this job will have after paying.
  local function is_turn_over(score)
    local served_s = served_in_turn_s(job_id)
    if args.batch_turn_s <= 0 or served_s < args.batch_turn_s then return false end
    local _, next_score = first_batch_job()
    return next_score and next_score < score + math.floor(served_s) * TAG
  end

  local function choose_directive()
    local chosen, score = read_directive(job_id), read_score(job_id)
    if chosen ~= 'go_on' or class_of(score) ~= BATCH then return chosen end
    local idle = count_idle_workers()
    if count_waiting(INTERACTIVE) > idle then return 'yield' end
    if idle > 0 or not is_turn_over(score) then return chosen end
    set(job_id, 'is_turn_over', 1)
    return 'yield'
  end

  keep_window(args)
  return choose_directive()
end
