-- Webhook deliveries: claims of an attempt, and reports on it.

-- Add an attempt to the log of a job's deliveries. `next_ms` is nil where no attempt follows.
local function log_attempt(job_id, outcome_json, next_ms)
  local delivery = key(keys.delivery, job_id)
  local record = redis.call('HMGET', delivery, 'claim_no', 'attempt_ms')
  redis.call('HDEL', delivery, 'attempt_ms')
  redis.call('RPUSH', key(keys.deliveries, job_id), string.format('{"attempt":%s,"at_ms":%s,"next_ms":%s,"outcome":%s}',
    record[1], record[2], next_ms and int(next_ms) or 'null', outcome_json))
end

-- Lease the delivery that is due first among the hosts that are not full, and that the caller can sign. Args: token (of
-- this call), lease_ms, max_attempts, give_up_ms (after the end of the job), interrupted (JSON text, the outcome of an
-- attempt without a report), full_hosts, has_server_secret, signing_keys (names of API keys with a secret of their own).
-- Returns {job_id, claim_no, NewJob, state, failure or '', ended_ms}, or {ms until one may be due, or nothing where there
-- is none; number of due deliveries without a secret}. A call with the same token returns the same delivery, since the
-- reply may have been lost.
function commands.claim_delivery(args)
  local token, hosts, now = key(keys.delivery_claim, args.token), key(keys.delivery_hosts), now_ms()
  local is_passed, passed, unsigned = {}, 0, 0
  local is_signing_key = {}
  for _, name in ipairs(args.signing_keys) do is_signing_key[name] = true end

  local function pass_over(host)
    is_passed[host] = true
    passed = passed + 1
  end

  local function grant(job_id)
    local record =
      redis.call('HMGET', key(keys.delivery, job_id), 'claim_no', 'new_job', 'state', 'failure', 'ended_ms')
    return {job_id, tonumber(record[1]), record[2], record[3], record[4], tonumber(record[5])}
  end

  local function find_host()
    local first = redis.call('ZRANGE', hosts, 0, passed, 'WITHSCORES')
    for at = 1, #first, 2 do
      if not is_passed[first[at]] then return first[at], tonumber(first[at + 1]) end
    end
  end

  local function is_overdue(ended_ms)
    return now - tonumber(ended_ms) > args.give_up_ms
  end

  -- The secret of a key is never replaced by that of the server; see WebhookSecrets.find. A delivery that is lost or
  -- overdue needs none: `lease` ends it.
  local function needs_no_other(job_id)
    local new_job, ended_ms = unpack(redis.call('HMGET', key(keys.delivery, job_id), 'new_job', 'ended_ms'))
    if not new_job or is_overdue(ended_ms) then return true end
    local job = cjson.decode(new_job)
    return is_signing_key[job.key_name or ''] or (args.has_server_secret and not job.has_own_secret)
  end

  -- Return the host's first due delivery that the caller can sign. Otherwise pass over the host, or correct its place,
  -- which writers do not do.
  local function find_due(host)
    local due = redis.call('ZRANGEBYSCORE', key(keys.deliveries_due, host), '-inf', int(now), 'LIMIT', 0, 50)
    for _, job_id in ipairs(due) do
      if needs_no_other(job_id) then return job_id end
    end
    unsigned = unsigned + #due
    local first = redis.call('ZRANGE', key(keys.deliveries_due, host), 0, 0, 'WITHSCORES')
    if due[1] then
      pass_over(host)
    elseif first[1] then
      redis.call('ZADD', hosts, first[2], host)
    else
      redis.call('ZREM', hosts, host)
    end
  end

  -- Return true if the delivery was leased. Otherwise it has come to its end, or its record was lost.
  local function lease(job_id, host)
    local delivery = key(keys.delivery, job_id)
    local record = redis.call('HMGET', delivery, 'claim_no', 'attempt_ms', 'ended_ms')
    if not record[1] then
      redis.call('ZREM', key(keys.deliveries_due, host), job_id)
      return false
    end
    local is_last = tonumber(record[1]) >= args.max_attempts or is_overdue(record[3])
    if record[2] then log_attempt(job_id, args.interrupted, not is_last and now or nil) end
    if is_last then
      end_delivery(job_id)
      return false
    end
    redis.call('HINCRBY', delivery, 'claim_no', 1)
    redis.call('HSET', delivery, 'attempt_ms', int(now))
    redis.call('ZADD', key(keys.deliveries_due, host), int(now + args.lease_ms), job_id)
    -- Hosts take turns: this one now comes after all others that are due, however many deliveries it still has.
    redis.call('ZADD', hosts, int(now), host)
    redis.call('SET', token, job_id, 'PX', int(args.lease_ms))
    return true
  end

  local held = redis.call('GET', token)
  if held and redis.call('EXISTS', key(keys.delivery, held)) == 1 then return grant(held) end
  for _, host in ipairs(args.full_hosts) do pass_over(host) end
  for _ = 1, 100 do
    local host, due_ms = find_host()
    if not host then return {false, unsigned} end
    if due_ms > now then return {due_ms - now, unsigned} end
    local job_id = find_due(host)
    if job_id and lease(job_id, host) then return grant(job_id) end
  end
  return {0, unsigned}
end

-- Record the outcome of an attempt. Args: job_id, claim_no, outcome (JSON text), wait_ms (until the next attempt; absent
-- where none follows). Returns `ended`, `retried`, or `stale` where the delivery was claimed again or already reported.
function commands.report_delivery(args)
  local job_id = args.job_id
  local record = redis.call('HMGET', key(keys.delivery, job_id), 'claim_no', 'attempt_ms', 'receiver')
  if tonumber(record[1]) ~= args.claim_no or not record[2] then return 'stale' end
  if not args.wait_ms then
    log_attempt(job_id, args.outcome, nil)
    end_delivery(job_id)
    return 'ended'
  end
  local next_ms = now_ms() + args.wait_ms
  log_attempt(job_id, args.outcome, next_ms)
  schedule_delivery(job_id, record[3], next_ms)
  return 'retried'
end
