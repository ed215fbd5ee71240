-- queued -> cancelled; running: ask its worker to stop. ARGV: job_id, ttl_ms, owner (as for `find_own`).
-- Answers the state the job was in, `gone`, or nothing where the owner has no such job.
local presence = find_own(ARGV[1], ARGV[3])
if presence ~= 'here' then return presence end
return cancel(ARGV[1], ARGV[2])
