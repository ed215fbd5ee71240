-- Keep a finished window: its segments replace its partials in the log, and the job resumes behind it.
-- ARGV: job_id, claim_no, window, resume_sample, processed_s, progress event, segments and warnings as JSON lists
-- of JSON texts, 0 where speech may be missing. Repeated for a window that is kept already, it changes nothing.
-- Answers a directive.
local job_id, claim_no, window = ARGV[1], ARGV[2], tonumber(ARGV[3])
if not holds_claim(job_id, claim_no) then return 'stale' end
local job = key('job:' .. job_id)
if window < tonumber(redis.call('HGET', job, 'windows')) then return directive(job_id) end
drop_partials(job_id)
for _, segment in ipairs(cjson.decode(ARGV[7])) do
  redis.call('RPUSH', key('segments:' .. job_id), segment)
  log_event(job_id, '{"type":"segment","segment":' .. segment .. '}')
end
for _, warning in ipairs(cjson.decode(ARGV[8])) do
  redis.call('RPUSH', key('warnings:' .. job_id), warning)
end
if ARGV[9] == '0' then redis.call('HSET', job, 'incomplete', 1) end
redis.call('HSET', job, 'windows', window + 1, 'resume_sample', ARGV[4], 'processed_s', ARGV[5])
tell(job_id, ARGV[6])
return directive(job_id)
