-- Put behind the order: what may be taken in, by idempotency keys and by the backlog with its limits.

-- Failures that are not the fault of the request: asked for again, the work is done again.
local is_passing = {timeout = true, worker_lost = true, engine_crash = true, expired = true}

-- The job that an idempotency key stands for, or nothing where the key is free, at first or again.
local function find_bound(idempotency_key)
  if not idempotency_key then return nil end
  local bound = redis.call('HMGET', key('idem:' .. idempotency_key), 'job_id', 'fingerprint')
  if not bound[1] then return nil end
  local record = redis.call('HMGET', key('job:' .. bound[1]), 'state', 'failure', 'cancel', 'new_job')
  local state = record[1]
  if not state or state == 'cancelled' or record[3] then return nil end
  if state == 'failed' and is_passing[cjson.decode(record[2]).code] then return nil end
  return {job_id = bound[1], fingerprint = bound[2], new_job = record[4]}
end

local function queued_ms(whose)
  return tonumber(redis.call('HGET', key('queued_ms'), whose) or 0)
end

local function count_unfinished(key_name)
  return redis.call('SCARD', key('unfinished:' .. key_name))
end

-- What a key has within its share of the queue is let in whatever the others have there, and so is its first job.
local function is_in_share(key_name, limits, audio_ms)
  local jobs, audio_s = limits.jobs_in_share_of_key, limits.audio_in_share_of_key_s
  if not jobs and not audio_s then return false end
  local unfinished, queued = count_unfinished(key_name), queued_ms('key:' .. key_name)
  if unfinished == 0 then return true end
  return (not jobs or unfinished < jobs) and (not audio_s or queued + audio_ms <= audio_s * 1000)
end

-- What there is no room for, as `shared.record.backlog.AdmissionLimit` names it, or nothing. Limits that are not there are none.
local function find_exceeded_limit(key_name, limits, audio_ms)
  local function is_over(whose, limit_s)
    local queued = queued_ms(whose)
    return limit_s and queued > 0 and queued + audio_ms > limit_s * 1000
  end
  local max_unfinished, max_queued = limits.max_unfinished_jobs_of_key, limits.max_queued_jobs
  if max_unfinished and count_unfinished(key_name) >= max_unfinished then return 'unfinished_jobs_of_key' end
  if is_over('key:' .. key_name, limits.max_queued_audio_of_key_s) then return 'queued_audio_of_key' end
  if is_in_share(key_name, limits, audio_ms) then return nil end
  if max_queued and redis.call('ZCARD', key('queued')) >= max_queued then return 'queued_jobs' end
  if is_over('all', limits.max_queued_audio_s) then return 'queued_audio' end
  return nil
end

-- The speed of inference over the windows of late: each older one weighs less, by a twentieth. Called before the
-- record says that the job has been processed up to `processed_s`, which took `inference_ms` in all.
local function measure_speed(job_id, processed_s, inference_ms)
  local job, speed = key('job:' .. job_id), key('speed')
  local record = redis.call('HMGET', job, 'processed_s', 'measured_ms')
  local audio_s = processed_s - tonumber(record[1] or 0)
  local took_s = (inference_ms - tonumber(record[2] or 0)) / 1000
  redis.call('HSET', job, 'measured_ms', int(inference_ms))
  if audio_s <= 0 or took_s <= 0 then return end
  local sums = redis.call('HMGET', speed, 'audio_s', 'inference_s')
  redis.call('HSET', speed, 'audio_s', string.format('%.6f', 0.95 * tonumber(sums[1] or 0) + audio_s),
    'inference_s', string.format('%.6f', 0.95 * tonumber(sums[2] or 0) + took_s))
end

local function running_audio_ms()
  local running_ms = 0
  for _, job_id in ipairs(redis.call('ZRANGE', key('running'), 0, -1)) do
    running_ms = running_ms + audio_left_ms(job_id)
  end
  return running_ms
end

-- The fields of `shared.record.backlog.Backlog`, times in ms; the speed as two sums, of audio and of inference.
local function describe_backlog(key_name, presence_ttl_ms)
  local speed = redis.call('HMGET', key('speed'), 'audio_s', 'inference_s')
  return {
    redis.call('ZCARD', key('queued')), queued_ms('all'), running_audio_ms(),
    count_unfinished(key_name), queued_ms('key:' .. key_name),
    speed[1] or '0', speed[2] or '0',
    redis.call('ZCOUNT', key('workers'), int(now_ms() - presence_ttl_ms), '+inf'),
  }
end
