-- Log an event of a running job. ARGV: job_id, claim_no, event as JSON, 1 for a partial, how many partials of the
-- open windows were told before it or empty. Repeated for a partial that is in the log already, it changes nothing.
-- Answers a directive.
local job_id, claim_no, event_json, is_partial = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
if not holds_claim(job_id, claim_no) then return 'stale' end
local partials = key('partials:' .. job_id)
if is_partial and ARGV[5] ~= '' and redis.call('LLEN', partials) > tonumber(ARGV[5]) then
  return directive(job_id)
end
local id = log_event(job_id, event_json)
if is_partial then redis.call('RPUSH', partials, id) end
wake_listeners(job_id)
return directive(job_id)
