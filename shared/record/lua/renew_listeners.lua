-- Begin the listener leases of these jobs anew. Jobs without one stay without. ARGV: ids of jobs that have a listener.
-- Answers how many of them have a lease.
local renewed = 0
for _, job_id in ipairs(ARGV) do
  if redis.call('ZSCORE', key('listener_leases'), job_id) then
    grant_listener_lease(job_id, redis.call('HGET', key('job:' .. job_id), 'listener_lease_ms'))
    renewed = renewed + 1
  end
end
return renewed
