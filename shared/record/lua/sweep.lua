-- running -> queued | failed(worker_lost), or cancelled if it was to be, for every job whose lease has expired.
-- ARGV: limit of losses, failure at the limit, ttl_ms, lease_s. Answers the ids of the jobs that were taken away.
-- After an outage of the server itself all leases look expired: workers get one lease to renew them.
-- (`pcall`: a server that forbids INFO in scripts sweeps at once.)
local info = redis.pcall('INFO', 'server')
local uptime_s = type(info) == 'string' and string.match(info, 'uptime_in_seconds:(%d+)') or math.huge
local is_young = tonumber(uptime_s) < tonumber(ARGV[4])

-- The same where nobody has swept for long: the server was frozen or took no writes, or all who use it stood
-- still, and so nobody could renew.
local function is_after_standstill(lease_ms)
  local sweeps, now = key('sweeps'), now_ms()
  local record = redis.call('HMGET', sweeps, 'last_ms', 'wait_until_ms')
  local last_ms, wait_until_ms = tonumber(record[1] or now), tonumber(record[2] or 0)
  -- The time that the server was away is over with its youth: workers need no second lease for it.
  if not is_young and now - last_ms > math.max(lease_ms / 2, 1500) then
    wait_until_ms = now + lease_ms
    redis.call('HSET', sweeps, 'wait_until_ms', int(wait_until_ms))
  end
  if not record[1] or now - last_ms > 500 then redis.call('HSET', sweeps, 'last_ms', int(now)) end
  return now < wait_until_ms
end
if is_after_standstill(tonumber(ARGV[4]) * 1000) or is_young then return {} end

local limit = tonumber(ARGV[1])
local expired = redis.call('ZRANGEBYSCORE', key('running'), '-inf', int(now_ms()), 'LIMIT', 0, 100)
for _, job_id in ipairs(expired) do
  requeue_or_fail(job_id, 'worker_losses', 'worker_lost', limit, ARGV[2], ARGV[3])
end
return expired
