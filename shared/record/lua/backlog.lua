-- The work that is left, as raw sums. shared/record/backlog.py estimates times from them.

-- The first queued jobs are summed one by one; the work of a script must be bounded.
local SUMMED_JOBS = 20

local function count_unfinished(key_name)
  return redis.call('SCARD', key(keys.unfinished, key_name))
end

-- Return the fields of `shared.record.backlog.Backlog` as JSON, with the audio of as many of the first queued jobs.
-- `key_name` is the name of an API key, or empty. Empty tables are left out: cjson cannot know whether they are lists or
-- objects.
local function describe_backlog(key_name, first_jobs)
  local running_ms, first_ms, running = 0, {}, redis.call('ZRANGE', key(keys.running), 0, -1)
  for _, job_id in ipairs(running) do
    running_ms = running_ms + audio_left_ms(job_id)
  end
  if first_jobs > 0 then
    for _, job_id in ipairs(redis.call('ZRANGE', key(keys.queued), 0, math.min(first_jobs, SUMMED_JOBS) - 1)) do
      first_ms[#first_ms + 1] = audio_left_ms(job_id)
    end
  end
  local measured = {}
  for _, field in ipairs(redis.call('HKEYS', key(keys.speed))) do
    local rows = string.match(field, '^audio_s:(%d+)$')
    if rows then
      local audio_s, inference_s = unpack(redis.call('HMGET', key(keys.speed), field, 'inference_s:' .. rows))
      measured[rows] = {tonumber(audio_s), tonumber(inference_s)}
    end
  end
  local model_states = read_model_states(PRESENCE_TTL_MS)
  return cjson.encode({
    queued_jobs = redis.call('ZCARD', key(keys.queued)),
    queued_ms = queued_ms('all'),
    first_ms = first_ms[1] and first_ms or nil,
    running_jobs = #running,
    running_ms = running_ms,
    unfinished_jobs_of_key = count_unfinished(key_name),
    queued_of_key_ms = queued_ms('key:' .. key_name),
    measured = next(measured) and measured or nil,
    model_states = next(model_states) and model_states or nil,
  })
end
