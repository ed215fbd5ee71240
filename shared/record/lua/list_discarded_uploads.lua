-- Answers the ids of cancelled jobs whose audio nobody has said to be deleted, a thousand of them at once.
return redis.call('SRANDMEMBER', key('discarded'), 1000)
