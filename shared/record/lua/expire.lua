-- queued -> failed(expired) for jobs that no worker has ever claimed, though they have waited long enough.
-- ARGV: queue_ttl_ms, failure, ttl_ms. Answers the ids of the jobs.
local oldest = int(now_ms() - tonumber(ARGV[1]))
local expired = redis.call('ZRANGEBYSCORE', key('unclaimed'), '-inf', oldest, 'LIMIT', 0, 100)
for _, job_id in ipairs(expired) do
  give_place_back(job_id)
  fail(job_id, ARGV[2], ARGV[3])
end
return expired
