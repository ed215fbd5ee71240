-- Cancel what a client left and nobody has followed for as long as is allowed. ARGV: ttl_ms.
-- Answers the ids of the jobs that were not over.
local abandoned, now = key('abandoned'), now_ms()
if redis.call('ZCARD', abandoned) == 0 then return {} end
local record = redis.call('HMGET', key('abandonment'), 'swept_ms', 'resume_ms')
local swept_ms, resume_ms = tonumber(record[1]), tonumber(record[2])

-- Where nobody has swept for long, followers could not put anything off either: the server was away or frozen, or
-- all who use it were. They get the whole time once more.
if now - swept_ms > math.max(resume_ms / 2, 3000) then
  for _, job_id in ipairs(redis.call('ZRANGEBYSCORE', abandoned, '-inf', int(now + resume_ms))) do
    redis.call('ZADD', abandoned, int(now + resume_ms), job_id)
  end
end
if now - swept_ms > 500 then redis.call('HSET', key('abandonment'), 'swept_ms', int(now)) end

local cancelled = {}
for _, job_id in ipairs(redis.call('ZRANGEBYSCORE', abandoned, '-inf', int(now), 'LIMIT', 0, 100)) do
  redis.call('ZREM', abandoned, job_id)
  local state = cancel(job_id, ARGV[1])
  if state and not is_final(state) then cancelled[#cancelled + 1] = job_id end
end
return cancelled
