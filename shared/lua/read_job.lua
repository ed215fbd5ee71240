-- ARGV: job_id. Answers the record, its position, segments and warnings as they stand together, or nothing.
local job_id = ARGV[1]
local record = redis.call('HGETALL', key('job:' .. job_id))
if #record == 0 then return false end
return {
  record,
  redis.call('ZRANK', key('queued'), job_id),
  attempt(job_id),
  redis.call('LRANGE', key('segments:' .. job_id), 0, -1),
  redis.call('LRANGE', key('warnings:' .. job_id), 0, -1),
}
