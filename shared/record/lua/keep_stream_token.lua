-- ARGV: SHA-256 of the token, job_id, name of the API key (or ''), ttl_ms.
local token = key('stream_token:' .. ARGV[1])
redis.call('HSET', token, 'job_id', ARGV[2], 'key_name', ARGV[3])
return redis.call('PEXPIRE', token, ARGV[4])
