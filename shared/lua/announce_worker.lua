-- ARGV: worker_id, presence as JSON. Renews the time at which the worker was last seen.
redis.call('ZADD', key('workers'), int(now_ms()), ARGV[1])
redis.call('HSET', key('presence'), ARGV[1], ARGV[2])
return 1
