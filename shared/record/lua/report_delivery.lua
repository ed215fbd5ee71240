-- What a try of a delivery came to. ARGV: job_id, claim_no, outcome as JSON, ms until the next try ('' for none),
-- how the receiver stands by this try, and for how many ms that is known.
-- Answers `ended`, `put_off`, or `stale` where it is no longer this deliverer's, or was reported before.
local job_id = ARGV[1]
local record = redis.call('HMGET', key('delivery:' .. job_id), 'claim_no', 'try_ms', 'receiver')
if record[1] ~= ARGV[2] or not record[2] then return 'stale' end
redis.call('SET', key('receiver:' .. record[3]), ARGV[5], 'PX', ARGV[6])
if ARGV[4] == '' then
  note_try(job_id, ARGV[3], nil)
  end_delivery(job_id)
  return 'ended'
end
local next_ms = now_ms() + tonumber(ARGV[4])
note_try(job_id, ARGV[3], next_ms)
redis.call('ZADD', key('deliveries_due'), int(next_ms), job_id)
return 'put_off'
