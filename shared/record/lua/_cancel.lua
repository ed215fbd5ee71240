-- Put after the rest: the one way to cancel a job, for clients and for expired listener leases.

-- queued -> cancelled; running: set the flag that its worker reads, and that every way out of `running` obeys.
-- Answers the state the job was in.
local function cancel(job_id, ttl_ms)
  local job = key('job:' .. job_id)
  local state = redis.call('HGET', job, 'state')
  if state == 'queued' then
    if redis.call('HGET', job, 'claim_no') == '0' then give_place_back(job_id) end
    close(job_id, 'cancelled', '{"type":"cancelled"}', '', ttl_ms)
  elseif state == 'running' then
    redis.call('HSET', job, 'cancel', ttl_ms)
  end
  return state
end
