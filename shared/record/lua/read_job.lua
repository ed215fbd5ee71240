-- ARGV: job_id, ms after which a worker that said nothing is gone. Answers the record, its standing, segments,
-- warnings and tries of its delivery as they are together, or nothing.
local job_id = ARGV[1]
local record = redis.call('HGETALL', key('job:' .. job_id))
if #record == 0 then return false end
return {
  record,
  describe_standing(job_id, redis.call('HGET', key('job:' .. job_id), 'state'), ARGV[2]),
  redis.call('LRANGE', key('segments:' .. job_id), 0, -1),
  redis.call('LRANGE', key('warnings:' .. job_id), 0, -1),
  redis.call('LRANGE', key('deliveries:' .. job_id), 0, -1),
}
