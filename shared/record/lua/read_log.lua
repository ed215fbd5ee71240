-- ARGV: job_id, id after which to read (`0` for the start), how many entries at most, after how many bytes to end,
-- owner (as for `find_own`).
-- Answers the job's state, the entries {id, event} and whether there are more; `gone`; or nothing where the owner has
-- no such job.
local job_id, after, entries_left, bytes_left = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local presence = find_own(job_id, ARGV[5])
if presence ~= 'here' then return presence end
local state = redis.call('HGET', key('job:' .. job_id), 'state')
-- Few at first: one that is not answered has been read for nothing, and may be long.
local at_once, entries = 4, {}
while true do
  local batch = redis.call('XRANGE', key('log:' .. job_id), '(' .. after, '+', 'COUNT', at_once)
  for _, entry in ipairs(batch) do
    if entries_left == 0 or bytes_left <= 0 then return {state, entries, 1} end
    local event = entry[2][2]
    entries[#entries + 1] = {entry[1], event}
    after, entries_left, bytes_left = entry[1], entries_left - 1, bytes_left - #event
  end
  if #batch < at_once then return {state, entries, 0} end
  at_once = at_once * 2
end
