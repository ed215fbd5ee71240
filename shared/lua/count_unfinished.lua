-- ARGV: name of an API key. Answers how many of its jobs are queued or running.
return redis.call('SCARD', key('unfinished:' .. ARGV[1]))
