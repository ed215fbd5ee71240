-- ARGV: worker_id. Forgets a worker that is about to end.
redis.call('ZREM', key('workers'), ARGV[1])
redis.call('HDEL', key('presence'), ARGV[1])
redis.call('HDEL', key('model_states'), ARGV[1])
return 1
