-- Put before every script: keys, the clock, the event log and the steps that transitions share.
-- KEYS[1] is the prefix of all keys. The server's clock is the only one that counts.
local function key(name) return KEYS[1] .. name end
local function int(number) return string.format('%d', number) end

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function log_event(job_id, event_json)
  return redis.call('XADD', key('log:' .. job_id), '*', 'event', event_json)
end

local function wake_listeners(job_id)
  redis.call('PUBLISH', key('ev:' .. job_id), '')
end

-- Nothing more will happen to the job: this wakes those too who wait for its end alone.
local function wake_for_end(job_id)
  redis.call('PUBLISH', key('ev:' .. job_id), 'end')
end

local function tell(job_id, event_json)
  log_event(job_id, event_json)
  wake_listeners(job_id)
end

local function is_final(state)
  return state == 'succeeded' or state == 'failed' or state == 'cancelled'
end

-- Partials of a window that was finished or given up say nothing any more.
local function drop_partials(job_id)
  local partials = key('partials:' .. job_id)
  for _, id in ipairs(redis.call('LRANGE', partials, 0, -1)) do
    redis.call('XDEL', key('log:' .. job_id), id)
  end
  redis.call('DEL', partials)
end

local function holds_claim(job_id, claim_no)
  local record = redis.call('HMGET', key('job:' .. job_id), 'state', 'claim_no')
  return record[1] == 'running' and record[2] == claim_no
end

local function directive(job_id)
  if redis.call('HEXISTS', key('job:' .. job_id), 'cancel') == 1 then return 'cancel' end
  return 'go_on'
end

-- Inference adds up over all claims of a job; a report that is repeated or late takes nothing away.
local function note_inference(job_id, inference_ms)
  local job = key('job:' .. job_id)
  local known = tonumber(redis.call('HGET', job, 'inference_ms') or 0)
  redis.call('HSET', job, 'inference_ms', int(math.max(known, tonumber(inference_ms))))
end

local function release_claim(job_id)
  local owner = redis.call('HGET', key('job:' .. job_id), 'owner')
  if owner then redis.call('HDEL', key('held'), owner) end
  redis.call('HDEL', key('job:' .. job_id), 'owner')
  redis.call('ZREM', key('running'), job_id)
end

local function audio_left_ms(job_id)
  local record = redis.call('HMGET', key('job:' .. job_id), 'audio_ms', 'processed_s')
  return math.max(0, tonumber(record[1] or 0) - math.floor(tonumber(record[2] or 0) * 1000))
end

local function count_audio(job_id, sign)
  local change = int(sign * audio_left_ms(job_id))
  local key_name = redis.call('HGET', key('job:' .. job_id), 'key_name') or ''
  for _, whose in ipairs({'all', 'key:' .. key_name}) do
    if redis.call('HINCRBY', key('queued_ms'), whose, change) == 0 then
      redis.call('HDEL', key('queued_ms'), whose)
    end
  end
end

-- The one way into the queue, and the one way out: the audio in it is counted here and nowhere else.
local function enter_queue(job_id)
  local score = redis.call('HGET', key('job:' .. job_id), 'score')
  if redis.call('ZADD', key('queued'), score, job_id) == 1 then count_audio(job_id, 1) end
end

local function leave_queue(job_id)
  if redis.call('ZREM', key('queued'), job_id) == 1 then count_audio(job_id, -1) end
end

local function key_name_of(job_id)
  return redis.call('HGET', key('job:' .. job_id), 'key_name') or ''
end

-- Jobs are listed among all and among those of their API key, by numbers that only grow.
local function lists_of(key_name)
  if key_name == '' then return {key('listed:all')} end
  return {key('listed:all'), key('listed:key:' .. key_name)}
end

local function list_job(job_id, key_name)
  local number = redis.call('INCR', key('listed'))
  for _, list in ipairs(lists_of(key_name)) do redis.call('ZADD', list, number, job_id) end
end

-- A job that is no longer there is not listed either, nor does it wait for that.
local function unlist_job(job_id, key_name)
  for _, list in ipairs(lists_of(key_name)) do redis.call('ZREM', list, job_id) end
  redis.call('ZREM', key('kept_until'), job_id .. ' ' .. key_name)
end

-- Answers `here`; `gone` where only the name of its API key is left; nothing where the owner has no such job. The owner
-- is the name of an API key, or `*` for any.
local function find_own(job_id, owner)
  local state, key_name = unpack(redis.call('HMGET', key('job:' .. job_id), 'state', 'key_name'))
  local presence = state and 'here' or 'gone'
  key_name = key_name or redis.call('GET', key('gone:' .. job_id))
  if not key_name or owner ~= '*' and owner ~= key_name then return nil end
  return presence
end

-- A final job is gone after its TTL; whose it was is known for seven times as long after that.
local function bury_in(job_id, ttl_ms)
  local key_name = key_name_of(job_id)
  redis.call('ZADD', key('kept_until'), int(now_ms() + ttl_ms), job_id .. ' ' .. key_name)
  redis.call('SET', key('gone:' .. job_id), key_name, 'PX', int(math.max(1, 8 * ttl_ms)))
end

-- Begin the TTL of a final job.
local function keep_for(job_id, ttl_ms)
  for _, name in ipairs({'job:', 'log:', 'segments:', 'warnings:', 'deliveries:'}) do
    redis.call('PEXPIRE', key(name .. job_id), ttl_ms)
  end
  bury_in(job_id, tonumber(ttl_ms))
end

-- A delivery is a hash and its place in `deliveries_due:<host>`, by the ms it is due. While it is attempted, that is the
-- end of its lease, so a delivery whose process died comes due again. `delivery_hosts` holds the hosts by a ms at which
-- their first delivery may be due: a claim passes a full host in one step, however many deliveries wait for it.
local function schedule_delivery(job_id, host, due_ms)
  redis.call('ZADD', key('deliveries_due:' .. host), int(due_ms), job_id)
  redis.call('ZADD', key('delivery_hosts'), 'LT', int(due_ms), host)
end

-- Record the delivery to the job's webhook in the same step as the job's end. Answers whether it has a webhook. If so, the
-- job's TTL begins with the end of the delivery, because the receiver must find the job.
local function open_delivery(job_id, state, failure_json, ttl_ms)
  local record = redis.call('HMGET', key('job:' .. job_id), 'receiver', 'new_job', 'finished_ms')
  if not record[1] then return false end
  redis.call('HSET', key('delivery:' .. job_id), 'receiver', record[1], 'new_job', record[2], 'state', state,
    'failure', failure_json, 'ended_ms', record[3], 'claim_no', 0, 'ttl_ms', ttl_ms)
  schedule_delivery(job_id, record[1], record[3])
  redis.call('PUBLISH', key('delivery_opened'), '')
  return true
end

-- Add an attempt to the job's delivery log. `next_ms` is nil where no further attempt follows.
local function note_attempt(job_id, outcome_json, next_ms)
  local delivery = key('delivery:' .. job_id)
  local record = redis.call('HMGET', delivery, 'claim_no', 'attempt_ms')
  redis.call('HDEL', delivery, 'attempt_ms')
  redis.call('RPUSH', key('deliveries:' .. job_id), string.format('{"attempt":%s,"at_ms":%s,"next_ms":%s,"outcome":%s}',
    record[1], record[2], next_ms and int(next_ms) or 'null', outcome_json))
end

-- End a delivery, if the job has one. The TTL of its job begins, unless the job was deleted.
local function end_delivery(job_id)
  local record = redis.call('HMGET', key('delivery:' .. job_id), 'receiver', 'ttl_ms')
  if not record[1] then return end
  redis.call('ZREM', key('deliveries_due:' .. record[1]), job_id)
  redis.call('DEL', key('delivery:' .. job_id))
  if redis.call('EXISTS', key('job:' .. job_id)) == 1 then keep_for(job_id, record[2]) end
end

local function close(job_id, state, event_json, failure_json, ttl_ms)
  release_claim(job_id)
  drop_partials(job_id)
  local job = key('job:' .. job_id)
  redis.call('HSET', job, 'state', state, 'finished_ms', int(now_ms()))
  if failure_json ~= '' then redis.call('HSET', job, 'failure', failure_json) end
  if state == 'cancelled' then redis.call('SADD', key('discarded'), job_id) end
  leave_queue(job_id)
  redis.call('ZREM', key('unclaimed'), job_id)
  redis.call('ZREM', key('listener_leases'), job_id)
  redis.call('SREM', key('unfinished:' .. (redis.call('HGET', job, 'key_name') or '')), job_id)
  log_event(job_id, event_json)
  wake_for_end(job_id)
  if not open_delivery(job_id, state, failure_json, ttl_ms) then keep_for(job_id, ttl_ms) end
end

local function fail(job_id, failure_json, ttl_ms)
  local failure = cjson.decode(failure_json)
  local event = cjson.encode({type = 'failed', code = failure.code, message = failure.message})
  close(job_id, 'failed', event, failure_json, ttl_ms)
end

-- Who cancelled a running job was promised that it ends so, whatever else was to become of it. The flag holds the ms
-- for which the job is then kept.
local function close_if_cancelled(job_id)
  local ttl_ms = redis.call('HGET', key('job:' .. job_id), 'cancel')
  if not ttl_ms then return false end
  close(job_id, 'cancelled', '{"type":"cancelled"}', '', ttl_ms)
  return true
end

-- A job that goes back keeps its score, and with it its place.
local function requeue(job_id, reason)
  if close_if_cancelled(job_id) then return 'cancelled' end
  release_claim(job_id)
  drop_partials(job_id)
  redis.call('HSET', key('job:' .. job_id), 'state', 'queued')
  enter_queue(job_id)
  tell(job_id, cjson.encode({type = 'requeued', reason = reason}))
  return 'requeued'
end

-- A claim that ended badly: count it, then go back to the queue or, at the limit, fail.
local function requeue_or_fail(job_id, counter, reason, limit, failure_json, ttl_ms)
  if close_if_cancelled(job_id) then return 'cancelled' end
  if redis.call('HINCRBY', key('job:' .. job_id), counter, 1) >= limit then
    fail(job_id, failure_json, ttl_ms)
    return 'failed'
  end
  return requeue(job_id, reason)
end

local function attempt(job_id)
  local counts = redis.call('HMGET', key('job:' .. job_id), 'worker_losses', 'engine_crashes')
  return 1 + tonumber(counts[1]) + tonumber(counts[2])
end
