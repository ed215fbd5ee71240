-- ARGV: SHA-256 of the token. Answers {job_id, name of the API key (or '')}, or nothing where it is unknown.
local grant = redis.call('HMGET', key('stream_token:' .. ARGV[1]), 'job_id', 'key_name')
return grant[1] and grant
