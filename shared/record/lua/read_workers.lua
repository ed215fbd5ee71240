-- ARGV: ttl_ms. Answers the presence of every worker seen within that time and forgets the others.
local oldest = int(now_ms() - tonumber(ARGV[1]))
for _, worker_id in ipairs(redis.call('ZRANGEBYSCORE', key('workers'), '-inf', '(' .. oldest)) do
  redis.call('ZREM', key('workers'), worker_id)
  redis.call('HDEL', key('presence'), worker_id)
  redis.call('HDEL', key('model_states'), worker_id)
end
return redis.call('HVALS', key('presence'))
