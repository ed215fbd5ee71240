-- final -> gone. ARGV: job_id. Answers 1, or 0 where the job is not final or not there.
local job_id = ARGV[1]
if not is_final(redis.call('HGET', key('job:' .. job_id), 'state')) then return 0 end
for _, name in ipairs({'job:', 'log:', 'segments:', 'warnings:', 'partials:'}) do
  redis.call('DEL', key(name .. job_id))
end
wake_listeners(job_id)
return 1
