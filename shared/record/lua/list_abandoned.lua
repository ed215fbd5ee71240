-- Answers the ids of all jobs that are cancelled in time if nobody follows them.
return redis.call('ZRANGE', key('abandoned'), 0, -1)
