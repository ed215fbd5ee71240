-- ARGV: worker_id, presence as JSON, 1 if it takes jobs, state of its model. Renews the time at which the worker was
-- last seen.
redis.call('ZADD', key('workers'), int(now_ms()), ARGV[1])
redis.call('HSET', key('presence'), ARGV[1], ARGV[2])
redis.call('HSET', key('model_states'), ARGV[1], ARGV[3] .. ' ' .. ARGV[4])
return 1
