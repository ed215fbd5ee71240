-- The client of a job left: a sweep cancels the job when that time is over, unless somebody follows it until then.
-- ARGV: job_id, resume_ms. Answers 1, or 0 where the job is over or not there.
--
-- `abandoned` has such jobs by the ms in which they are due. They leave it when that comes, and not with their end.
local job_id, resume_ms, now = ARGV[1], tonumber(ARGV[2]), now_ms()
local state = redis.call('HGET', key('job:' .. job_id), 'state')
if not state or is_final(state) then return 0 end
-- Nobody sweeps where nothing is abandoned: no standstill is to be seen in that.
if redis.call('ZCARD', key('abandoned')) == 0 then redis.call('HSET', key('abandonment'), 'swept_ms', int(now)) end
redis.call('HSET', key('abandonment'), 'resume_ms', int(resume_ms))
redis.call('ZADD', key('abandoned'), int(now + resume_ms), job_id)
return 1
