-- running -> queued | failed(worker_lost) for every job whose lease has expired.
-- ARGV: limit of losses, failure at the limit, ttl_ms, lease_s. Answers the ids of the jobs that were taken away.
-- After an outage of the server itself all leases look expired: workers get one lease to renew them.
-- (`pcall`: a server that forbids INFO in scripts sweeps at once.)
local info = redis.pcall('INFO', 'server')
local uptime_s = type(info) == 'string' and string.match(info, 'uptime_in_seconds:(%d+)') or math.huge
if tonumber(uptime_s) < tonumber(ARGV[4]) then return {} end
local limit = tonumber(ARGV[1])
local expired = redis.call('ZRANGEBYSCORE', key('running'), '-inf', int(now_ms()), 'LIMIT', 0, 100)
for _, job_id in ipairs(expired) do
  requeue_or_fail(job_id, 'worker_losses', 'worker_lost', limit, ARGV[2], ARGV[3])
end
return expired
