-- Let a job go on without a listener. ARGV: job_id. Answers 1, or 0 where it has no listener lease.
return redis.call('ZREM', key('listener_leases'), ARGV[1])
