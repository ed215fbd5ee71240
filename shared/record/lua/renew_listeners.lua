-- Begin the listener leases of these jobs anew. Jobs without one stay without. ARGV: ids of jobs that have a listener.
-- Answers how many of them have a lease.
local leases, clock_ms, renewed = key('listener_leases'), lease_clock_ms(), 0
for _, job_id in ipairs(ARGV) do
  if redis.call('ZSCORE', leases, job_id) then
    local lease_ms = redis.call('HGET', key('job:' .. job_id), 'listener_lease_ms')
    redis.call('ZADD', leases, int(clock_ms + lease_ms), job_id)
    renewed = renewed + 1
  end
end
return renewed
