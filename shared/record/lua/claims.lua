-- A worker's claims: a group of jobs whose windows share its batches.
--
-- A crash of the process that decodes a group does not show which job caused it. So each job of it is claimed alone
-- next time (`is_alone`), until it has finished a window. Only a job that had no companions is counted as the cause.

local function attempt(job_id)
  local losses, crashes = get(job_id, 'worker_losses', 'engine_crashes')
  return 1 + tonumber(losses) + tonumber(crashes)
end

-- queued -> running, for the first job or, in its turn, the first batch job, and for as many companions after it as the
-- batch has room. Each job is claimed as if it were the only one. A job that must be alone goes first in its class, has
-- no companions and is none.
-- Args: worker_id, engine, model, lease_ms, interactive_rows and batch_rows (rows of the next batch that are free for
-- jobs of that class), used_rows, max_rows (all of them), window_ms (audio in a row), held (the claims that the worker has, each {job_id, claim_no}),
-- batch_turn_s (0: batch jobs have no turns).
-- Returns the new claims, and a directive for each one held; no other command returns `yield`. Claims that are not in
-- `held` are returned again, instead of new ones, since the reply may have been lost.
function commands.claim(args)
  local worker_id, engine, model = args.worker_id, args.engine, args.model
  local room = {[INTERACTIVE] = args.interactive_rows, [BATCH] = args.batch_rows}
  local rows_in_use = args.used_rows
  local group, directives, is_known, is_alone_held = {}, {}, {}, false

  for i, held in ipairs(args.held) do
    directives[i] = 'stale'
    if holds_claim(held) then
      directives[i], is_known[held.job_id] = read_directive(held.job_id), true
      is_alone_held = is_alone_held or get(held.job_id, 'is_alone')
      group[#group + 1] = held.job_id
    end
  end

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

  local function take(job_id, score)
    pass_virtual_time(score)
    redis.call('ZREM', key(keys.unclaimed), job_id)
    leave_queue(job_id)
    redis.call('RPUSH', key(keys.held, worker_id), job_id)
    redis.call('HINCRBY', key(keys.job, job_id), 'claim_no', 1)
    set(job_id, 'state', 'running', 'owner', worker_id, 'turn_from_s', get(job_id, 'processed_s'))
    redis.call('HDEL', key(keys.job, job_id), 'is_turn_over', 'is_counted_ahead', 'had_companions')
    if class_of(score) == BATCH then begin_batch_turn() else count_interactive_claim(job_id) end
    redis.call('HSETNX', key(keys.job, job_id), 'started_ms', int(now_ms()))
    record_engine(job_id)
    publish(job_id, cjson.encode({
      type = 'started', attempt = attempt(job_id), engine = engine, model = model,
      rows_in_use = math.min(rows_in_use, args.max_rows), max_rows = args.max_rows}))
  end

  local function grant(job_id)
    grant_lease(keys.running, job_id, args.lease_ms)
    local claim_no, new_job, windows, resume_sample, audio_start, inference_ms =
      get(job_id, 'claim_no', 'new_job', 'windows', 'resume_sample', 'audio_start', 'inference_ms')
    return {tonumber(claim_no), attempt(job_id), new_job, tonumber(windows), tonumber(resume_sample),
      audio_start or false, tonumber(inference_ms or 0), redis.call('LINDEX', key(keys.segments, job_id), -1)}
  end

  -- The turn of batch comes up only where a batch job has room: else one of the group is served already.
  local function choose_class()
    if room[BATCH] < 1 or count_waiting(BATCH) == 0 then return INTERACTIVE end
    local is_turn = windows_since_batch() >= WINDOWS_UNTIL_BATCH
    return (is_turn or count_waiting(INTERACTIVE) == 0) and BATCH or INTERACTIVE
  end

  -- Return the next job, its score, and whether it must be alone. No job overtakes one that must be alone or has no room.
  local function choose_job()
    local class = choose_class()
    if room[class] < 1 or is_alone_held then return nil end
    local job_id, score = first_of(class, keys.alone)
    if not job_id then return first_of(class, keys.queued) end
    if #group == 0 then return job_id, score, true end
  end

  -- A job has as many rows as it has windows. Those of a batch job beyond the first give way to interactive jobs.
  local function take_rows(job_id, class)
    local rows = 1
    if room[INTERACTIVE] > 1 then rows = count_rows(audio_left_ms(job_id), args.window_ms) end
    rows_in_use = rows_in_use + rows
    room[BATCH], room[INTERACTIVE] = room[BATCH] - rows, room[INTERACTIVE] - (class == BATCH and 1 or rows)
  end

  local function claim_group()
    local claimed = {}
    repeat
      local job_id, score, is_alone = choose_job()
      if job_id then
        take_rows(job_id, class_of(score))
        take(job_id, score)
        claimed[#claimed + 1], group[#group + 1] = job_id, job_id
      end
    until not job_id or is_alone
    if #claimed > 0 and #group > 1 then
      for _, job_id in ipairs(group) do set(job_id, 'had_companions', 1) end
    end
    return claimed
  end

  local function find_unknown()
    local unknown = {}
    for _, job_id in ipairs(redis.call('LRANGE', key(keys.held, worker_id), 0, -1)) do
      if not is_known[job_id] then
        unknown[#unknown + 1], group[#group + 1] = job_id, job_id
      end
    end
    return unknown
  end

  -- An idle worker takes what waits. A worker not seen for 5 s, longer than a healthy one is silent, does not count.
  local function count_idle_workers()
    local idle = 0
    for other_id, state in pairs(read_model_states(5000)) do
      local is_busy = redis.call('EXISTS', key(keys.held, other_id)) == 1
      if not is_busy and string.sub(state, 1, 1) == '1' then idle = idle + 1 end
    end
    return idle
  end

  -- Return the indexes of the held batch jobs that may yield, the last place first.
  local function find_batch_jobs()
    local found, score = {}, {}
    for i, held in ipairs(args.held) do
      score[i] = directives[i] == 'go_on' and read_score(held.job_id)
      if score[i] and class_of(score[i]) == BATCH then found[#found + 1] = i end
    end
    table.sort(found, function(a, b) return score[a] > score[b] end)
    return found
  end

  -- The turn is over if a job waits whose place comes before the place that this job will have after paying.
  local function is_turn_over(job_id)
    local served_s = served_in_turn_s(job_id)
    if args.batch_turn_s <= 0 or served_s < args.batch_turn_s then return false end
    local _, next_score = first_of(BATCH, keys.queued)
    return next_score and next_score < read_score(job_id) + math.floor(served_s) * TAG
  end

  -- Let as many batch jobs yield as the jobs need that still wait and that no idle worker takes. In a group, interactive
  -- jobs share the batches with the first batch job. All yield to a job that must be alone.
  local function choose_yields()
    local found = find_batch_jobs()
    if #found == 0 or redis.call('ZCARD', key(keys.queued)) == 0 then return end
    local idle = count_idle_workers()
    local needed = math.min(count_waiting(INTERACTIVE) - idle, #group > 1 and #found - 1 or #found)
    if not is_alone_held and redis.call('ZCARD', key(keys.alone)) > idle then needed = #found end
    local needed_by_batch = idle > 0 and 0 or count_waiting(BATCH)
    for n, i in ipairs(found) do
      local job_id = args.held[i].job_id
      if n <= needed then
        directives[i] = 'yield'
      elseif needed_by_batch > 0 and is_turn_over(job_id) then
        set(job_id, 'is_turn_over', 1)
        directives[i], needed_by_batch = 'yield', needed_by_batch - 1
      end
    end
  end

  local granted = {}
  if is_record_open() and math.max(room[INTERACTIVE], room[BATCH]) >= 1 then
    granted = find_unknown()
    if #granted == 0 then granted = claim_group() end
    for i, job_id in ipairs(granted) do granted[i] = grant(job_id) end
  end
  choose_yields()
  return {granted, directives}
end
