-- queued -> cancelled; running: ask its worker to stop. ARGV: job_id, ttl_ms.
-- Answers the state the job was in, or nothing where there is no such job.
return cancel(ARGV[1], ARGV[2])
