-- Put behind the intake: what becomes of the delivery of a job's end to somebody's server.
--
-- A delivery is a hash and its place in `deliveries_due`, by the ms in which it is due; while it is tried, that is
-- the end of the lease on it. So one whose deliverer is gone comes due again by itself.

-- Add a try to the log, which lives as long as the job does. `next_ms` is nil where there is no further one.
local function note_try(job_id, outcome_json, next_ms)
  local delivery, log = key('delivery:' .. job_id), key('deliveries:' .. job_id)
  local record = redis.call('HMGET', delivery, 'claim_no', 'try_ms')
  redis.call('HDEL', delivery, 'try_ms')
  local job_ttl_ms = redis.call('PTTL', key('job:' .. job_id))
  if job_ttl_ms <= 0 then return end
  redis.call('RPUSH', log, string.format('{"attempt":%s,"at_ms":%s,"next_ms":%s,"outcome":%s}',
    record[1], record[2], next_ms and int(next_ms) or 'null', outcome_json))
  redis.call('PEXPIRE', log, int(job_ttl_ms))
end

local function end_delivery(job_id)
  redis.call('ZREM', key('deliveries_due'), job_id)
  redis.call('DEL', key('delivery:' .. job_id))
end
