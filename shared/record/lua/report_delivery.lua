-- Record the outcome of an attempt. ARGV: job_id, claim_no, outcome as JSON, ms until the next attempt ('' for none).
-- Answers `ended`, `retried`, or `stale` where the delivery was claimed again, or this attempt was reported before.
local job_id = ARGV[1]
local record = redis.call('HMGET', key('delivery:' .. job_id), 'claim_no', 'attempt_ms', 'receiver')
if record[1] ~= ARGV[2] or not record[2] then return 'stale' end
if ARGV[4] == '' then
  note_attempt(job_id, ARGV[3], nil)
  end_delivery(job_id)
  return 'ended'
end
local next_ms = now_ms() + tonumber(ARGV[4])
note_attempt(job_id, ARGV[3], next_ms)
schedule_delivery(job_id, record[3], next_ms)
return 'retried'
