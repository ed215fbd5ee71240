-- (nothing) -> queued. ARGV: job_id, class (0 is served first), NewJob as JSON, its audio in ms, terms (what
-- `shared.record.admission` calls so, as JSON), fingerprint of the request, ms for which its idempotency key is kept,
-- the host of its webhook (or ''), ms of its listener lease (0 for a job that needs no listener).
-- Answers one of: `submitted`; `repeated` (the job exists: a repeated submit must not reset it); `replayed` and the
-- NewJob that the idempotency key stands for; `reused` (it stands for another request); `full`, what there is no room
-- for, and the backlog.
local job_id, class, new_job, audio_ms = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local terms = cjson.decode(ARGV[5])
local key_name = terms.key_name
local job = key('job:' .. job_id)
if redis.call('EXISTS', job) == 1 then return {'repeated'} end
local bound = find_bound(terms.idempotency_key)
if bound and bound.fingerprint ~= ARGV[6] then return {'reused'} end
if bound then return {'replayed', bound.new_job} end
local limit = find_exceeded_limit(key_name, terms.limits, audio_ms)
if limit then return {'full', limit, describe_backlog(key_name, terms.presence_ttl_ms)} end
if terms.idempotency_key then
  local idem = key('idem:' .. terms.idempotency_key)
  redis.call('HSET', idem, 'job_id', job_id, 'fingerprint', ARGV[6])
  redis.call('PEXPIRE', idem, ARGV[7])
end
if key_name ~= '' then redis.call('SADD', key('unfinished:' .. key_name), job_id) end
local score = int(take_place(class, key_name, audio_ms))
redis.call('HSET', job, 'state', 'queued', 'new_job', new_job, 'key_name', key_name, 'audio_ms', ARGV[4],
  'score', score, 'created_ms', int(now_ms()),
  'claim_no', 0, 'worker_losses', 0, 'engine_crashes', 0, 'windows', 0, 'resume_sample', 0, 'processed_s', 0,
  'inference_ms', 0)
if ARGV[8] ~= '' then redis.call('HSET', job, 'receiver', ARGV[8]) end
if ARGV[9] ~= '0' then
  redis.call('HSET', job, 'listener_lease_ms', ARGV[9])
  redis.call('ZADD', key('listener_leases'), int(lease_clock_ms() + tonumber(ARGV[9])), job_id)
end
enter_queue(job_id)
list_job(job_id, key_name)
redis.call('ZADD', key('unclaimed'), int(now_ms()), job_id)
local standing = describe_standing(job_id, 'queued', terms.presence_ttl_ms)
tell(job_id, cjson.encode({type = 'queued', position = standing[1], eta_s = tonumber(standing[3])}))
return {'submitted'}
