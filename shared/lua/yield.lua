-- running -> queued at its old place, checkpoint kept. ARGV: job_id, claim_no, reason. Answers 1, or 0 if stale.
if not holds_claim(ARGV[1], ARGV[2]) then return 0 end
requeue(ARGV[1], ARGV[3])
return 1
