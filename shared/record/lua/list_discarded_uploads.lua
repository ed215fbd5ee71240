-- Answers the ids of up to a thousand cancelled or deleted jobs whose audio may still be there.
return redis.call('SRANDMEMBER', key('discarded'), 1000)
