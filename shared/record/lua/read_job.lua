-- ARGV: job_id, ms after which a worker without a sign of life is gone, owner (as for `find_own`).
-- Answers the record, its standing, segments, warnings and delivery attempts as of one moment; `gone`; or nothing where
-- the owner has no such job.
local job_id = ARGV[1]
local presence = find_own(job_id, ARGV[3])
if presence ~= 'here' then return presence end
return {
  redis.call('HGETALL', key('job:' .. job_id)),
  describe_standing(job_id, redis.call('HGET', key('job:' .. job_id), 'state'), ARGV[2]),
  redis.call('LRANGE', key('segments:' .. job_id), 0, -1),
  redis.call('LRANGE', key('warnings:' .. job_id), 0, -1),
  redis.call('LRANGE', key('deliveries:' .. job_id), 0, -1),
}
