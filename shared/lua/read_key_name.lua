-- ARGV: job_id. Answers the name of the API key that the job belongs to (or ''), or nothing where there is none.
local record = redis.call('HMGET', key('job:' .. ARGV[1]), 'state', 'key_name')
return record[1] and (record[2] or '')
