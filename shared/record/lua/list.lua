-- Jobs, newest first. ARGV: `all`, or `key:` and the name of an API key; states as a JSON list, empty for all; the
-- number of the job behind which to go on (or `+inf`); how many jobs; at how many to look; ms after which a worker
-- that said nothing is gone. Answers the jobs, each {number, id, record, standing}; the number of the last one that
-- was looked at (or ''); and 1 where there is none behind it.
local states, limit, looks = cjson.decode(ARGV[2]), tonumber(ARGV[4]), tonumber(ARGV[5])

local function is_asked_for(state)
  for _, asked in ipairs(states) do
    if asked == state then return true end
  end
  return state and #states == 0
end

local entries = redis.call('ZREVRANGEBYSCORE', key('listed:' .. ARGV[1]), ARGV[3], '-inf', 'WITHSCORES',
  'LIMIT', 0, looks)
local found, looked_to = {}, ''
for i = 1, #entries, 2 do
  if #found == limit then return {found, looked_to, 0} end
  local job_id, number = entries[i], entries[i + 1]
  local state = redis.call('HGET', key('job:' .. job_id), 'state')
  if is_asked_for(state) then
    found[#found + 1] = {number, job_id, redis.call('HGETALL', key('job:' .. job_id)),
      describe_standing(job_id, state, ARGV[6])}
  end
  looked_to = number
end
return {found, looked_to, #entries < 2 * looks and 1 or 0}
