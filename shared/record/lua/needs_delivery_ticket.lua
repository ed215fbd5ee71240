-- ARGV: the broker's queue, a Redis list; ms after which a delivery that nobody has tried is given up.
-- Answers 1 where a delivery is due and no ticket waits to be delivered.
local due, now = key('deliveries_due'), now_ms()
for _, job_id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', int(now - tonumber(ARGV[2])), 'LIMIT', 0, 100)) do
  end_delivery(job_id)
end
if redis.call('ZCOUNT', due, '-inf', int(now)) > 0 and redis.call('LLEN', ARGV[1]) == 0 then return 1 end
return 0
