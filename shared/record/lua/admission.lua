-- Admission: idempotency keys, the limits of the queue, and the submit itself.

-- After these failures a repeated request is done again, since they are not the fault of the request.
local is_passing = {
  timeout = true, worker_lost = true, engine_crash = true, expired = true, model_unavailable = true, upload_missing = true,
}

-- Return the job that an idempotency key stands for, or nothing if the key is free or has become free again.
local function find_bound(idempotency_key)
  if not idempotency_key then return nil end
  local bound = redis.call('HMGET', key(keys.idempotency, idempotency_key), 'job_id', 'fingerprint')
  if not bound[1] then return nil end
  local state, failure, is_cancelled, new_job = get(bound[1], 'state', 'failure', 'cancel', 'new_job')
  if not state or state == 'cancelled' or is_cancelled then return nil end
  if state == 'failed' and is_passing[cjson.decode(failure).code] then return nil end
  return {fingerprint = bound[2], new_job = new_job}
end

-- Return the exceeded limit as a `shared.record.backlog.AdmissionLimit`, or nothing. A limit that is absent does not
-- hold. `policy` is a `shared.record.admission.SubmitPolicy`.
local function find_exceeded_limit(policy, audio_ms)
  local key_name, limits = policy.key_name, policy.limits
  local unfinished = count_unfinished(key_name)

  local function is_over(whose, limit_s)
    local queued = queued_ms(whose)
    return limit_s and queued > 0 and queued + audio_ms > limit_s * 1000
  end

  -- The limits of the server do not hold for a key within its share of the queue, nor for its first job.
  local function is_in_share()
    local jobs, audio_s = limits.jobs_in_share_of_key, limits.audio_in_share_of_key_s
    if not jobs and not audio_s then return false end
    if unfinished == 0 then return true end
    return (not jobs or unfinished < jobs)
      and (not audio_s or queued_ms('key:' .. key_name) + audio_ms <= audio_s * 1000)
  end

  local max_unfinished, max_queued = limits.max_unfinished_jobs_of_key, limits.max_queued_jobs
  if max_unfinished and unfinished >= max_unfinished then return 'unfinished_jobs_of_key' end
  if is_over('key:' .. key_name, limits.max_queued_audio_of_key_s) then return 'queued_audio_of_key' end
  if is_in_share() then return nil end
  if max_queued and redis.call('ZCARD', key(keys.queued)) >= max_queued then return 'queued_jobs' end
  if is_over('all', limits.max_queued_audio_s) then return 'queued_audio' end
  return nil
end

-- Check whether a job of any length would be admitted now. Args: policy. Returns the backlog, the exceeded limit (or
-- ''), 1 if the idempotency key stands for a job, the number of jobs an interactive job would find ahead of it, and what
-- `read_workers` returns.
function commands.check_admission(args)
  local policy, workers = args.policy, read_presences()
  -- As in `take_place`: all jobs with the same start tag or an earlier one are ahead.
  local next_tag = start_tag(INTERACTIVE, policy.key_name) + 1
  local ahead = redis.call('ZCOUNT', key(keys.queued), '-inf', '(' .. int(score_of(INTERACTIVE, next_tag, 0)))
  return {
    describe_backlog(policy.key_name, ahead),
    find_exceeded_limit(policy, 1) or '',
    find_bound(policy.idempotency_key) and 1 or 0,
    ahead,
    workers,
  }
end

-- Find the job of an idempotency key. Args: idempotency_key, fingerprint. Returns nothing if the key is free, else
-- whether the fingerprint is the same, and the NewJob.
function commands.find_replay(args)
  local bound = find_bound(args.idempotency_key)
  if not bound then return false end
  return {bound.fingerprint == args.fingerprint and 1 or 0, bound.new_job}
end

-- (nothing) -> queued. Args: job_id, priority, new_job (JSON text), audio_ms, policy, fingerprint and idempotency_ttl_ms
-- (for an idempotency key), receiver (the webhook's host, if there is one), listener_lease_ms (if it needs a listener).
-- Returns `submitted`; `repeated` (the job exists, a repeated call does not reset it); `replayed` and the NewJob of the
-- idempotency key; `reused` (the key stands for another request); or `full`, the exceeded limit and the backlog.
function commands.submit(args)
  local job_id, policy = args.job_id, args.policy
  local key_name, class = policy.key_name, args.priority == 'batch' and BATCH or INTERACTIVE
  if not is_record_open() then return {'closed'} end
  if get(job_id, 'state') then return {'repeated'} end
  local bound = find_bound(policy.idempotency_key)
  if bound and bound.fingerprint ~= args.fingerprint then return {'reused'} end
  if bound then return {'replayed', bound.new_job} end
  local limit = find_exceeded_limit(policy, args.audio_ms)
  if limit then return {'full', limit, describe_backlog(key_name, 0)} end
  if policy.idempotency_key then
    local idempotency = key(keys.idempotency, policy.idempotency_key)
    redis.call('HSET', idempotency, 'job_id', job_id, 'fingerprint', args.fingerprint)
    redis.call('PEXPIRE', idempotency, int(args.idempotency_ttl_ms))
  end
  if key_name ~= '' then redis.call('SADD', key(keys.unfinished, key_name), job_id) end
  local now = int(now_ms())
  set(job_id, 'state', 'queued', 'new_job', args.new_job, 'key_name', key_name, 'audio_ms', int(args.audio_ms),
    'score', int(take_place(class, key_name, args.audio_ms)), 'created_ms', now,
    'claim_no', 0, 'worker_losses', 0, 'engine_crashes', 0, 'windows', 0, 'resume_sample', 0, 'processed_s', 0,
    'inference_ms', 0)
  if args.receiver then set(job_id, 'receiver', args.receiver) end
  if args.listener_lease_ms then
    set(job_id, 'listener_lease_ms', int(args.listener_lease_ms))
    grant_lease(keys.listener_leases, job_id, args.listener_lease_ms)
  end
  enter_queue(job_id)
  list_job(job_id, key_name)
  redis.call('ZADD', key(keys.unclaimed), now, job_id)
  -- Readers of the log estimate the wait from the backlog.
  local position = redis.call('ZRANK', key(keys.queued), job_id)
  publish(job_id, '{"type":"queued","position":' .. int(position) .. ',"audio_ms":' .. int(args.audio_ms)
    .. ',"is_interactive":' .. tostring(class == INTERACTIVE) .. ',"backlog":' .. describe_backlog(key_name, position) .. '}')
  return {'submitted'}
end
