-- queued -> running. ARGV: worker_id, lease_ms. Answers the claim, or nothing where no job is queued.
-- Repeated by a worker that holds a live lease (its reply was lost) it answers the same claim again.
local worker_id, lease_ms = ARGV[1], tonumber(ARGV[2])

local function answer(job_id)
  redis.call('ZADD', key('running'), int(now_ms() + lease_ms), job_id)
  local record = redis.call('HMGET', key('job:' .. job_id), 'claim_no', 'new_job', 'windows', 'resume_sample')
  return {tonumber(record[1]), attempt(job_id), record[2], tonumber(record[3]), tonumber(record[4])}
end

local held = redis.call('HGET', key('held'), worker_id)
if held then return answer(held) end

local job_id = redis.call('ZRANGE', key('queued'), 0, 0)[1]
if not job_id then return false end
redis.call('ZREM', key('queued'), job_id)
redis.call('HSET', key('held'), worker_id, job_id)
local job = key('job:' .. job_id)
redis.call('HINCRBY', job, 'claim_no', 1)
redis.call('HSET', job, 'state', 'running', 'owner', worker_id)
redis.call('HSETNX', job, 'started_ms', int(now_ms()))
tell(job_id, cjson.encode({type = 'started', attempt = attempt(job_id)}))
return answer(job_id)
