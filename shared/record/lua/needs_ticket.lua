-- ARGV: the broker's queue, a Redis list. Answers 1 where jobs are queued and no ticket waits to be delivered.
if redis.call('ZCARD', key('queued')) > 0 and redis.call('LLEN', ARGV[1]) == 0 then return 1 end
return 0
