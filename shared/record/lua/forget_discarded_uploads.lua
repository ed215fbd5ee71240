-- ARGV: ids of jobs whose audio is deleted. Answers how many of them were on the list.
return redis.call('SREM', key('discarded'), unpack(ARGV))
