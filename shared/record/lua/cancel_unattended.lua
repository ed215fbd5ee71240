-- Cancel all jobs whose listener lease has expired, as `cancel` does. ARGV: ttl_ms. Answers the ids of the jobs.
local leases = key('listener_leases')
local expired = redis.call('ZRANGEBYSCORE', leases, '-inf', int(lease_clock_ms()), 'LIMIT', 0, 100)
for _, job_id in ipairs(expired) do
  redis.call('ZREM', leases, job_id)
  cancel(job_id, ARGV[1])
end
return expired
