-- Log an event of a running job. ARGV: job_id, claim_no, event as JSON, 1 for a partial. Answers a directive.
local job_id, claim_no, event_json, is_partial = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
if not holds_claim(job_id, claim_no) then return 'stale' end
local id = log_event(job_id, event_json)
if is_partial then redis.call('RPUSH', key('partials:' .. job_id), id) end
wake_listeners(job_id)
return directive(job_id)
