-- ARGV: job_id, id after which to read (`0` for the start), count.
-- Answers the job's state and the entries {id, event}, or nothing where there is no such job.
local job_id = ARGV[1]
local state = redis.call('HGET', key('job:' .. job_id), 'state')
if not state then return false end
local entries = {}
for _, entry in ipairs(redis.call('XRANGE', key('log:' .. job_id), '(' .. ARGV[2], '+', 'COUNT', ARGV[3])) do
  entries[#entries + 1] = {entry[1], entry[2][2]}
end
return {state, entries}
