-- running -> running: renew the lease. ARGV: job_id, claim_no, lease_ms. Answers a directive.
local job_id, claim_no, lease_ms = ARGV[1], ARGV[2], tonumber(ARGV[3])
if not holds_claim(job_id, claim_no) then return 'stale' end
redis.call('ZADD', key('running'), int(lease_clock_ms() + lease_ms), job_id)
return directive(job_id)
