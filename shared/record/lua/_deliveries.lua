-- Put behind the intake: what becomes of the delivery of a job's end to somebody's server.
--
-- A delivery is a hash and its place in `deliveries_due`, by the ms in which it is due; while it is tried, that is
-- the end of the lease on it. So one whose deliverer is gone comes due again by itself.

-- Add a try to the log. `next_ms` is nil where there is no further one.
local function note_try(job_id, outcome_json, next_ms)
  local delivery = key('delivery:' .. job_id)
  local record = redis.call('HMGET', delivery, 'claim_no', 'try_ms')
  redis.call('HDEL', delivery, 'try_ms')
  redis.call('RPUSH', key('deliveries:' .. job_id), string.format('{"attempt":%s,"at_ms":%s,"next_ms":%s,"outcome":%s}',
    record[1], record[2], next_ms and int(next_ms) or 'null', outcome_json))
end

-- However it ends, the TTL of its job begins, unless that was deleted.
local function end_delivery(job_id)
  local ttl_ms = redis.call('HGET', key('delivery:' .. job_id), 'ttl_ms')
  redis.call('ZREM', key('deliveries_due'), job_id)
  redis.call('DEL', key('delivery:' .. job_id))
  if ttl_ms and redis.call('EXISTS', key('job:' .. job_id)) == 1 then keep_for(job_id, ttl_ms) end
end
