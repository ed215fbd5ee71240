-- running -> queued, checkpoint kept, at its old place; behind what it was served if its turn was over.
-- ARGV: job_id, claim_no, reason, inference_ms. Answers 1, or 0 if stale.
if not holds_claim(ARGV[1], ARGV[2]) then return 0 end
note_inference(ARGV[1], ARGV[4])
requeue(ARGV[1], ARGV[3])
return 1
