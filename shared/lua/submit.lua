-- (nothing) -> queued. ARGV: job_id, class (0 is served first), NewJob as JSON, name of the API key (or ''), how
-- many unfinished jobs that key may have (or '').
-- Answers 0 where the job exists: a repeated submit must not reset it; -1 where the key has all it may have.
local job_id, class, new_job = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local key_name, limit = ARGV[4], tonumber(ARGV[5])
local job = key('job:' .. job_id)
if redis.call('EXISTS', job) == 1 then return 0 end
local unfinished = key('unfinished:' .. key_name)
if limit and redis.call('SCARD', unfinished) >= limit then return -1 end
if key_name ~= '' then redis.call('SADD', unfinished, job_id) end
local score = int(class * 1e13 + redis.call('INCR', key('sequence')))
redis.call('HSET', job, 'state', 'queued', 'new_job', new_job, 'key_name', key_name,
  'score', score, 'created_ms', int(now_ms()),
  'claim_no', 0, 'worker_losses', 0, 'engine_crashes', 0, 'windows', 0, 'resume_sample', 0, 'processed_s', 0)
redis.call('ZADD', key('queued'), score, job_id)
tell(job_id, cjson.encode({type = 'queued', position = redis.call('ZRANK', key('queued'), job_id)}))
return 1
