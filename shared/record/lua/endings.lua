-- Ways out of `running`, final states, and what is kept of a final job and for how long.

local function release_claim(job_id)
  local owner = get(job_id, 'owner')
  if owner then redis.call('LREM', key(keys.held, owner), 0, job_id) end
  redis.call('HDEL', key(keys.job, job_id), 'owner')
  redis.call('ZREM', key(keys.running), job_id)
end

-- Begin the TTL of a final job. Its owner stays known for seven times as long after that.
local function keep_for(job_id, ttl_ms)
  for _, name in ipairs({keys.job, keys.log, keys.segments, keys.warnings, keys.deliveries}) do
    redis.call('PEXPIRE', key(name, job_id), int(ttl_ms))
  end
  local key_name = get(job_id, 'key_name') or ''
  redis.call('ZADD', key(keys.kept_until), int(now_ms() + ttl_ms), job_id .. ' ' .. key_name)
  redis.call('SET', key(keys.gone, job_id), key_name, 'PX', int(math.max(1, 8 * ttl_ms)))
end

-- A delivery is a hash and its place in its host's `deliveries_due`, by the ms in which it is due. During an attempt
-- that is the end of the lease, so the delivery of a killed process comes due again. `delivery_hosts` holds the hosts by
-- a ms in which their first delivery may be due: a claim passes over a full host in one step, however many deliveries
-- wait for it.
local function schedule_delivery(job_id, host, due_ms)
  redis.call('ZADD', key(keys.deliveries_due, host), int(due_ms), job_id)
  redis.call('ZADD', key(keys.delivery_hosts), 'LT', int(due_ms), host)
end

-- Open the delivery of a job with a webhook, in the same step as its end. Returns true if the job has a webhook: its TTL
-- then begins when the delivery ends, since the receiver must find the job.
local function open_delivery(job_id, ttl_ms)
  local receiver, new_job, state, failure, finished_ms =
    get(job_id, 'receiver', 'new_job', 'state', 'failure', 'finished_ms')
  if not receiver then return false end
  redis.call('HSET', key(keys.delivery, job_id), 'receiver', receiver, 'new_job', new_job, 'state', state,
    'failure', failure or '', 'ended_ms', finished_ms, 'claim_no', 0, 'ttl_ms', int(ttl_ms))
  schedule_delivery(job_id, receiver, finished_ms)
  redis.call('PUBLISH', key(keys.delivery_opened), '')
  return true
end

-- End a delivery, if the job has one. The TTL of the job begins, unless the job was deleted.
local function end_delivery(job_id)
  local receiver, ttl_ms = unpack(redis.call('HMGET', key(keys.delivery, job_id), 'receiver', 'ttl_ms'))
  if not receiver then return end
  redis.call('ZREM', key(keys.deliveries_due, receiver), job_id)
  redis.call('DEL', key(keys.delivery, job_id))
  if redis.call('EXISTS', key(keys.job, job_id)) == 1 then keep_for(job_id, tonumber(ttl_ms)) end
end

-- The message `end` also wakes listeners that wait for the end alone.
local function wake_for_end(job_id)
  redis.call('PUBLISH', key(keys.wake_ups, job_id), 'end')
end

-- Return the last event of a job. It carries what is wrong with the transcript, for listeners that only follow events.
local function final_event(job_id, state, failure_json)
  if state == 'cancelled' then return '{"type":"cancelled"}' end
  if state == 'failed' then return '{"type":"failed",' .. string.sub(failure_json, 2) end -- with the same fields
  local warnings = redis.call('LRANGE', key(keys.warnings, job_id), 0, -1)
  return '{"type":"succeeded","is_complete":' .. tostring(not get(job_id, 'incomplete'))
    .. ',"warnings":[' .. table.concat(warnings, ',') .. ']}'
end

-- End a job. `failure_json` is that of a failed job.
local function close(job_id, state, ttl_ms, failure_json)
  release_claim(job_id)
  drop_partials(job_id)
  set(job_id, 'state', state, 'finished_ms', int(now_ms()))
  if failure_json then set(job_id, 'failure', failure_json) end
  if state == 'cancelled' then redis.call('SADD', key(keys.discarded), job_id) end
  leave_queue(job_id)
  redis.call('ZREM', key(keys.unclaimed), job_id)
  redis.call('ZREM', key(keys.listener_leases), job_id)
  redis.call('SREM', key(keys.unfinished, get(job_id, 'key_name') or ''), job_id)
  log_event(job_id, final_event(job_id, state, failure_json))
  wake_for_end(job_id)
  if not open_delivery(job_id, ttl_ms) then keep_for(job_id, ttl_ms) end
end

-- A running job with the flag `cancel` ends as cancelled on every way out of `running`, as its client was promised. The
-- flag holds the ms for which the job is then kept.
local function close_if_cancelled(job_id)
  local ttl_ms = get(job_id, 'cancel')
  if not ttl_ms then return false end
  close(job_id, 'cancelled', tonumber(ttl_ms))
  return true
end

-- A job that goes back to the queue keeps its score, and thus its place.
local function requeue(job_id, reason)
  if close_if_cancelled(job_id) then return 'cancelled' end
  release_claim(job_id)
  drop_partials(job_id)
  set(job_id, 'state', 'queued')
  enter_queue(job_id)
  publish(job_id, cjson.encode({type = 'requeued', reason = reason}))
  return 'requeued'
end

-- Requeue a job whose claim ended badly together with others. It is tried alone next, since any of them may be the cause.
local function requeue_alone(job_id, reason)
  set(job_id, 'is_alone', 1)
  return requeue(job_id, reason)
end

-- Count a claim that ended badly, and requeue the job. At the limit it fails.
local function requeue_or_fail(job_id, counter, reason, args)
  if close_if_cancelled(job_id) then return 'cancelled' end
  if redis.call('HINCRBY', key(keys.job, job_id), counter, 1) >= args.limit then
    close(job_id, 'failed', args.ttl_ms, args.failure)
    return 'failed'
  end
  return requeue(job_id, reason)
end

-- queued -> cancelled. For a running job set the flag that its worker reads, and that every way out of `running` obeys.
-- Returns the state before.
local function cancel(job_id, ttl_ms)
  local state, claim_no = get(job_id, 'state', 'claim_no')
  if state == 'queued' then
    if claim_no == '0' then give_place_back(job_id) end
    close(job_id, 'cancelled', ttl_ms)
  elseif state == 'running' then
    set(job_id, 'cancel', int(ttl_ms))
  end
  return state
end

-- Args: job_id, owner, ttl_ms. Returns the state before, else what `find_own` returns.
function commands.cancel(args)
  local presence = find_own(args.job_id, args.owner)
  return presence == 'here' and cancel(args.job_id, args.ttl_ms) or presence
end

-- running -> queued with its checkpoint, at its old place or, if its turn was over, after the audio it was served.
-- Args: job_id, claim_no, reason, inference_ms. Returns `requeued`, `cancelled` or `stale`.
function commands.yield(args)
  if not holds_claim(args) then return 'stale' end
  record_inference(args.job_id, args.inference_ms)
  pay_for_turn(args.job_id)
  return requeue(args.job_id, args.reason)
end

-- running -> queued | failed, for each job of the group that was in a model process when it died. Only a job without
-- companions is counted. Args: claims (each {job_id, claim_no, inference_ms}), had_others (the engine was also at
-- work on jobs whose claims had ended), limit, and for the limit failure (JSON text) and ttl_ms. Returns `requeued`, `failed`,
-- `cancelled` or `stale` for each claim.
function commands.crash(args)
  local outcomes = {}
  -- A stale claim counts as a companion: its job was in the process, too.
  local is_group = args.had_others or #args.claims > 1
  for i, claim in ipairs(args.claims) do
    outcomes[i] = 'stale'
    if holds_claim(claim) then
      record_inference(claim.job_id, claim.inference_ms)
      outcomes[i] = is_group and requeue_alone(claim.job_id, 'engine_crash')
        or requeue_or_fail(claim.job_id, 'engine_crashes', 'engine_crash', args)
    end
  end
  return outcomes
end

-- running -> a final state; a job that is to be cancelled ends as `cancelled`. Args: job_id, claim_no, state, failure
-- (JSON text, of a failed job), ttl_ms, inference_ms, last_window (the arguments of `keep_window`, if a window is not
-- kept yet).
-- Returns `finished`, `already` (this claim finished it before), `cancelled` (now or before) or `stale`.
function commands.finish(args)
  local state, claim_no = get(args.job_id, 'state', 'claim_no')
  if is_final(state) and tonumber(claim_no) == args.claim_no then
    return state == 'cancelled' and 'cancelled' or 'already'
  end
  if not holds_claim(args) then return 'stale' end
  record_inference(args.job_id, args.inference_ms)
  if args.last_window then keep_window(args.last_window) end
  if close_if_cancelled(args.job_id) then return 'cancelled' end
  close(args.job_id, args.state, args.ttl_ms, args.failure)
  return args.state == 'cancelled' and 'cancelled' or 'finished'
end

-- running -> queued | failed, for each job whose worker's lease has expired. Only a job without companions is counted.
-- Each sweep also advances the lease clock.
-- Args: limit, and for the limit failure (JSON text) and ttl_ms. Returns these jobs, each {id, `requeued`,
-- `failed` or `cancelled`}.
function commands.sweep(args)
  local clock_ms = lease_clock_ms()
  redis.call('HSET', key(keys.lease_clock), 'clock_ms', int(clock_ms), 'ticked_ms', int(now_ms()))
  local expired = redis.call('ZRANGEBYSCORE', key(keys.running), '-inf', int(clock_ms), 'LIMIT', 0, 100)
  for i, job_id in ipairs(expired) do
    expired[i] = {job_id, get(job_id, 'had_companions') and requeue_alone(job_id, 'worker_lost')
      or requeue_or_fail(job_id, 'worker_losses', 'worker_lost', args)}
  end
  return expired
end

-- Cancel each job whose listener lease has expired. Args: ttl_ms. Returns these jobs, each {id, state before}.
function commands.cancel_unattended(args)
  local leases = key(keys.listener_leases)
  local expired = redis.call('ZRANGEBYSCORE', leases, '-inf', int(lease_clock_ms()), 'LIMIT', 0, 100)
  for i, job_id in ipairs(expired) do
    redis.call('ZREM', leases, job_id)
    expired[i] = {job_id, cancel(job_id, args.ttl_ms) or ''}
  end
  return expired
end

-- queued -> failed(expired), for jobs that no worker has claimed. Args: queue_ttl_ms, failure (JSON text), ttl_ms.
-- Returns the ids of these jobs.
function commands.expire(args)
  local oldest = int(now_ms() - args.queue_ttl_ms)
  local expired = redis.call('ZRANGEBYSCORE', key(keys.unclaimed), '-inf', oldest, 'LIMIT', 0, 100)
  for _, job_id in ipairs(expired) do
    give_place_back(job_id)
    close(job_id, 'failed', args.ttl_ms, args.failure)
  end
  return expired
end

-- final -> gone; a sweeper deletes its audio. Args: job_id. Returns 1, or 0 if there is no such job or it is not final.
function commands.delete(args)
  local job_id = args.job_id
  local state, key_name = get(job_id, 'state', 'key_name')
  if not is_final(state) then return 0 end
  unlist_job(job_id, key_name or '')
  for _, name in ipairs({keys.job, keys.log, keys.segments, keys.warnings, keys.deliveries, keys.partials,
    keys.gone}) do
    redis.call('DEL', key(name, job_id))
  end
  end_delivery(job_id)
  redis.call('SADD', key(keys.discarded), job_id)
  wake_for_end(job_id)
  return 1
end

-- Take jobs whose TTL is over off the lists; Redis has deleted the rest. Returns their number.
function commands.forget()
  local due = redis.call('ZRANGEBYSCORE', key(keys.kept_until), '-inf', int(now_ms()), 'LIMIT', 0, 100)
  for _, kept in ipairs(due) do unlist_job(string.match(kept, '^(%S+) (.*)$')) end
  return #due
end
