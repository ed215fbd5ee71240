-- running -> queued, checkpoint kept, at its old place; behind what it was served if its turn was over.
-- Or running -> cancelled, if it was to be. ARGV: job_id, claim_no, reason, inference_ms.
-- Answers `requeued`, `cancelled` or `stale`.
if not holds_claim(ARGV[1], ARGV[2]) then return 'stale' end
note_inference(ARGV[1], ARGV[4])
pay_for_turn(ARGV[1])
return requeue(ARGV[1], ARGV[3])
