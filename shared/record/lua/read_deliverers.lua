-- ARGV: ttl_ms. Answers the ids of those who looked for deliveries within that time.
return redis.call('ZRANGEBYSCORE', key('deliverers'), int(now_ms() - tonumber(ARGV[1])), '+inf')
