-- queued -> cancelled; running: set the flag that its worker reads. ARGV: job_id, ttl_ms.
-- Answers the state the job was in, or nothing where there is no such job.
local job_id, ttl_ms = ARGV[1], ARGV[2]
local job = key('job:' .. job_id)
local state = redis.call('HGET', job, 'state')
if state == 'queued' then
  if redis.call('HGET', job, 'claim_no') == '0' then give_place_back(job_id) end
  close(job_id, 'cancelled', '{"type":"cancelled"}', '', ttl_ms)
elseif state == 'running' then
  redis.call('HSET', job, 'cancel', 1)
end
return state
