-- The windows that a worker finishes.

-- Inference adds up over all claims of a job; a repeated or late report takes nothing away.
local function record_inference(job_id, inference_ms)
  local known = tonumber(get(job_id, 'inference_ms') or 0)
  set(job_id, 'inference_ms', int(math.max(known, inference_ms)))
end

-- Keep a finished window: its segments replace its partials in the log, and the job resumes after it.
-- Args: job_id, window, resume_sample, processed_s, progress (JSON text), segments and warnings (lists of JSON texts),
-- is_complete, inference_ms, cost_ms (the inference time that the speed counts for this window), rows (windows that were in
-- decoding at once), audio_start (JSON text), token_counts (absent if unknown). A repeated call changes nothing.
local function keep_window(args)
  local job_id = args.job_id

  -- The speed of inference over recent windows with about as many rows at once: from a power of two on, and below the
  -- next one. Each older window weighs a twentieth less.
  local function measure_speed()
    local audio_s, cost_s = args.processed_s - tonumber(get(job_id, 'processed_s') or 0), args.cost_ms / 1000
    if audio_s <= 0 or cost_s <= 0 then return end
    local rows = 1
    while 2 * rows <= args.rows do rows = 2 * rows end
    for name, amount in pairs({audio_s = audio_s, inference_s = cost_s}) do
      local field = name .. ':' .. int(rows)
      local sum = tonumber(redis.call('HGET', key(keys.speed), field) or 0)
      redis.call('HSET', key(keys.speed), field, string.format('%.6f', 0.95 * sum + amount))
    end
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
  redis.call('HDEL', key(keys.job, job_id), 'is_alone') -- it has passed the place that may have been dangerous
  publish(job_id, args.progress)
  if class_of(read_score(job_id)) ~= BATCH then count_interactive_window(job_id) end
end

-- Keep a finished window of a job that goes on. Args: job_id, claim_no, and those of `keep_window`. Returns a directive.
function commands.finish_window(args)
  if not holds_claim(args) then return 'stale' end
  keep_window(args)
  return read_directive(args.job_id)
end
