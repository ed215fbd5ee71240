-- running -> queued | failed, or cancelled if it was to be: the model process died under the job.
-- ARGV: job_id, claim_no, limit, failure at the limit, ttl_ms, inference_ms.
-- Answers `requeued`, `failed`, `cancelled` or `stale`.
local job_id, claim_no, limit = ARGV[1], ARGV[2], tonumber(ARGV[3])
if not holds_claim(job_id, claim_no) then return 'stale' end
note_inference(job_id, ARGV[6])
return requeue_or_fail(job_id, 'engine_crashes', 'engine_crash', limit, ARGV[4], ARGV[5])
