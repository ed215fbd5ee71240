-- ARGV: job_id. Answers the name of the API key that the job belongs to (or '') and 0; where its TTL is over, the
-- name and 1; nothing where there is no such job.
local record = redis.call('HMGET', key('job:' .. ARGV[1]), 'state', 'key_name')
if record[1] then return {record[2] or '', 0} end
local key_name = redis.call('GET', key('gone:' .. ARGV[1]))
return key_name and {key_name, 1}
