-- final -> gone, as far as Redis does not see to it by itself: jobs whose TTL is over are listed no longer.
-- Answers how many.
local due = redis.call('ZRANGEBYSCORE', key('kept_until'), '-inf', int(now_ms()), 'LIMIT', 0, 100)
for _, kept in ipairs(due) do
  unlist_job(string.match(kept, '^(%S+) (.*)$'))
end
return #due
