-- final -> gone; a sweeper deletes its audio. ARGV: job_id. Answers 1, or 0 where the job is not final or not there.
local job_id = ARGV[1]
if not is_final(redis.call('HGET', key('job:' .. job_id), 'state')) then return 0 end
unlist_job(job_id, key_name_of(job_id))
for _, name in ipairs({'job:', 'log:', 'segments:', 'warnings:', 'partials:', 'gone:'}) do
  redis.call('DEL', key(name .. job_id))
end
end_delivery(job_id)
redis.call('SADD', key('discarded'), job_id)
redis.call('DEL', key('deliveries:' .. job_id))
wake_for_end(job_id)
return 1
