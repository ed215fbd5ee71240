-- running -> a final state. ARGV: job_id, claim_no, state, event, failure (or ''), ttl_ms.
-- Answers `finished`, `already` (the same claim finished it before: safe to repeat) or `stale`.
local job_id, claim_no = ARGV[1], ARGV[2]
local record = redis.call('HMGET', key('job:' .. job_id), 'state', 'claim_no')
if record[2] == claim_no and is_final(record[1]) then return 'already' end
if not holds_claim(job_id, claim_no) then return 'stale' end
close(job_id, ARGV[3], ARGV[4], ARGV[5], ARGV[6])
return 'finished'
