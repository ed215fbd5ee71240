-- running -> queued | failed(worker_lost), or cancelled if it was to be, for all jobs whose worker's lease has expired.
-- Each sweep also advances the clock of leases. ARGV: limit of losses, failure at the limit, ttl_ms.
-- Answers the ids of these jobs.
tick_lease_clock()
local limit = tonumber(ARGV[1])
local expired = redis.call('ZRANGEBYSCORE', key('running'), '-inf', int(lease_clock_ms()), 'LIMIT', 0, 100)
for _, job_id in ipairs(expired) do
  requeue_or_fail(job_id, 'worker_losses', 'worker_lost', limit, ARGV[2], ARGV[3])
end
return expired
