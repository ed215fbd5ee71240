-- queued -> running. ARGV: worker_id, lease_ms, engine, model. Answers the claim, or nothing where no job is
-- queued: the first in the queue, or the first batch job where that is due. Repeated by a worker that holds a live
-- lease (its reply was lost) it answers the same claim again.
local worker_id, lease_ms, engine, model = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]

-- The engine and model of the last claim are the job's; text that is kept from others is warned of.
local function note_engine(job_id)
  local job = key('job:' .. job_id)
  local record = redis.call('HMGET', job, 'engine', 'model', 'engine_since_s', 'processed_s')
  if record[1] == engine and record[2] == model then return end
  local start_s, end_s = tonumber(record[3] or 0), tonumber(record[4])
  if record[1] and end_s > start_s then
    local message = string.format(
      'The text of %.2f s to %.2f s was decoded by %s (%s), before the job went to another engine or model.',
      start_s, end_s, record[1], record[2])
    redis.call('RPUSH', key('warnings:' .. job_id),
      cjson.encode({code = 'engine_changed', message = message, start_s = start_s, end_s = end_s}))
  end
  redis.call('HSET', job, 'engine', engine, 'model', model, 'engine_since_s', record[4])
end

local function answer(job_id)
  redis.call('ZADD', key('running'), int(lease_clock_ms() + lease_ms), job_id)
  local record = redis.call('HMGET', key('job:' .. job_id), 'claim_no', 'new_job', 'windows', 'resume_sample',
    'inference_ms')
  return {tonumber(record[1]), attempt(job_id), record[2], tonumber(record[3]), tonumber(record[4]),
    tonumber(record[5] or 0), redis.call('LINDEX', key('segments:' .. job_id), -1)}
end

local held = redis.call('HGET', key('held'), worker_id)
if held then return answer(held) end

local function choose_job()
  local batch_job = first_batch_job()
  if batch_job and is_turn_of_batch() then return batch_job end
  return redis.call('ZRANGE', key('queued'), 0, 0)[1]
end

local job_id = choose_job()
if not job_id then return false end
local score = read_score(job_id)
pass_virtual_time(score)
redis.call('ZREM', key('unclaimed'), job_id)
leave_queue(job_id)
redis.call('HSET', key('held'), worker_id, job_id)
local job = key('job:' .. job_id)
redis.call('HINCRBY', job, 'claim_no', 1)
redis.call('HSET', job, 'state', 'running', 'owner', worker_id,
  'turn_from_s', redis.call('HGET', job, 'processed_s'))
redis.call('HDEL', job, 'is_turn_over', 'is_counted_ahead')
if class_of(score) == BATCH then note_turn_of_batch() else count_interactive_claim(job_id) end
redis.call('HSETNX', job, 'started_ms', int(now_ms()))
note_engine(job_id)
tell(job_id, cjson.encode({type = 'started', attempt = attempt(job_id), engine = engine, model = model}))
return answer(job_id)
