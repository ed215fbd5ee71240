-- The event log of a job.

local function log_event(job_id, event_json)
  return redis.call('XADD', key(keys.log, job_id), '*', 'event', event_json)
end

local function wake_listeners(job_id)
  redis.call('PUBLISH', key(keys.wake_ups, job_id), '')
end

local function publish(job_id, event_json)
  log_event(job_id, event_json)
  wake_listeners(job_id)
end

-- Partials of a finished or abandoned window are void.
local function drop_partials(job_id)
  local partials = key(keys.partials, job_id)
  for _, id in ipairs(redis.call('LRANGE', partials, 0, -1)) do
    redis.call('XDEL', key(keys.log, job_id), id)
  end
  redis.call('DEL', partials)
end

-- Log an event of a running job. Args: job_id, claim_no, event (JSON text), is_partial; published_partials counts the
-- partials that were published before this one, so that a repeated call changes nothing. Returns a directive.
function commands.emit(args)
  if not holds_claim(args) then return 'stale' end
  local partials = key(keys.partials, args.job_id)
  local known = args.is_partial and args.published_partials
  if known and redis.call('LLEN', partials) > known then return read_directive(args.job_id) end
  local id = log_event(args.job_id, args.event)
  if args.is_partial then redis.call('RPUSH', partials, id) end
  wake_listeners(args.job_id)
  return read_directive(args.job_id)
end

-- Read a page of the log. Args: job_id, owner, after_id (`0` for the start), max_events, max_bytes (the last event may
-- exceed it). Returns the state, the entries {id, event} and 1 if there are more; else what `find_own` returns.
function commands.read_log(args)
  local presence = find_own(args.job_id, args.owner)
  if presence ~= 'here' then return presence end
  local state = get(args.job_id, 'state')
  local after, entries_left, bytes_left = args.after_id, args.max_events, args.max_bytes
  -- The first batch is small: an entry that does not fit was read in vain, and it may be long.
  local batch_size, entries = 4, {}
  while true do
    local batch = redis.call('XRANGE', key(keys.log, args.job_id), '(' .. after, '+', 'COUNT', batch_size)
    for _, entry in ipairs(batch) do
      if entries_left == 0 or bytes_left <= 0 then return {state, entries, 1} end
      local event = entry[2][2]
      entries[#entries + 1] = {entry[1], event}
      after, entries_left, bytes_left = entry[1], entries_left - 1, bytes_left - #event
    end
    if #batch < batch_size then return {state, entries, 0} end
    batch_size = batch_size * 2
  end
end
