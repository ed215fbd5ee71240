-- Readings of jobs, and the list of all jobs.

-- Jobs are listed among all jobs and among those of their API key, by numbers that only grow.
local function lists_of(key_name)
  if key_name == '' then return {key(keys.lists, 'all')} end
  return {key(keys.lists, 'all'), key(keys.lists, 'key:' .. key_name)}
end

local function list_job(job_id, key_name)
  local number = redis.call('INCR', key(keys.list_counter))
  for _, list in ipairs(lists_of(key_name)) do redis.call('ZADD', list, number, job_id) end
end

local function unlist_job(job_id, key_name)
  for _, list in ipairs(lists_of(key_name)) do redis.call('ZREM', list, job_id) end
  redis.call('ZREM', key(keys.kept_until), job_id .. ' ' .. key_name)
end

-- Return the fields of a job as a JSON list of names and values: clients parse one text faster than fifty replies.
local function encode_fields(job_id) return cjson.encode(redis.call('HGETALL', key(keys.job, job_id))) end

-- Read one job. Args: job_id, owner. Returns its fields (JSON), its position, the backlog (or '' where the job is final),
-- segments, warnings and webhook deliveries; else what `find_own` returns.
function commands.read_job(args)
  local job_id = args.job_id
  local presence = find_own(job_id, args.owner)
  if presence ~= 'here' then return presence end
  local state = get(job_id, 'state')
  local position = redis.call('ZRANK', key(keys.queued), job_id)
  return {
    encode_fields(job_id),
    position,
    is_final(state) and '' or describe_backlog('', position or 0),
    redis.call('LRANGE', key(keys.segments, job_id), 0, -1),
    redis.call('LRANGE', key(keys.warnings, job_id), 0, -1),
    redis.call('LRANGE', key(keys.deliveries, job_id), 0, -1),
  }
end

-- List jobs, newest first. Args: list (`all`, or `key:` and a key's name), states (absent for all), before (the number
-- to start below), limit (jobs to return), max_looks (jobs to look at). Returns the jobs, each {number,
-- fields, position}; the number of the last job looked at (or ''); 1 if that was the end of the list; and the backlog.
function commands.list(args)
  local is_wanted = {}
  for _, state in ipairs(args.states or {}) do is_wanted[state] = true end
  local entries = redis.call('ZREVRANGEBYSCORE', key(keys.lists, args.list), args.before, '-inf', 'WITHSCORES',
    'LIMIT', 0, args.max_looks)
  local found, looked_to, is_end = {}, '', #entries < 2 * args.max_looks
  for i = 1, #entries, 2 do
    if #found == args.limit then
      is_end = false
      break
    end
    local job_id, number = entries[i], entries[i + 1]
    local state = get(job_id, 'state')
    if state and (not args.states or is_wanted[state]) then
      found[#found + 1] = {number, encode_fields(job_id),
        redis.call('ZRANK', key(keys.queued), job_id)}
    end
    looked_to = number
  end
  return {found, looked_to, is_end and 1 or 0, describe_backlog('', SUMMED_JOBS)}
end
