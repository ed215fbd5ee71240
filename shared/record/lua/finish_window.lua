-- Keep a finished window: its segments replace its partials in the log, and the job resumes behind it.
-- ARGV: job_id, claim_no, window, resume_sample, processed_s, progress event, segments and warnings as JSON lists
-- of JSON texts, 0 where speech may be missing, inference_ms, seconds of audio after which a batch job makes room
-- for one of another key (0: never), counts of tokens as JSON or empty. Repeated for a window that is kept already,
-- it changes nothing. Answers a directive, which is the only place where that may be `yield`.
local job_id, claim_no, window = ARGV[1], ARGV[2], tonumber(ARGV[3])
if not holds_claim(job_id, claim_no) then return 'stale' end
local job = key('job:' .. job_id)

-- An idle worker will take what waits. Whoever was not seen for 5 s, longer than a worker is ever silent while it
-- is well, is not counted on.
local function count_idle_workers()
  local idle = 0
  for _, worker_id in ipairs(redis.call('ZRANGEBYSCORE', key('workers'), int(now_ms() - 5000), '+inf')) do
    if redis.call('HEXISTS', key('held'), worker_id) == 0 then
      local presence = redis.call('HGET', key('presence'), worker_id)
      if presence and cjson.decode(presence).takes_jobs ~= false then idle = idle + 1 end
    end
  end
  return idle
end

-- The turn is over where somebody waits whose place is before the one that the job will have paid for with it.
local function is_turn_over(score, turn_s)
  local served_s = served_in_turn_s(job_id)
  if turn_s <= 0 or served_s < turn_s then return false end
  local _, next_score = first_batch_job()
  return next_score and next_score < score + math.floor(served_s) * TAG
end

local function choose_directive()
  local chosen, score = directive(job_id), read_score(job_id)
  if chosen ~= 'go_on' or class_of(score) ~= BATCH then return chosen end
  local idle = count_idle_workers()
  if count_waiting(0) > idle then return 'yield' end
  if idle > 0 or not is_turn_over(score, tonumber(ARGV[11])) then return chosen end
  redis.call('HSET', job, 'is_turn_over', 1)
  return 'yield'
end

local function count_tokens()
  if ARGV[12] == '' then
    redis.call('HSET', job, 'has_uncounted', 1)
    return
  end
  for name, count in pairs(cjson.decode(ARGV[12])) do
    redis.call('HINCRBY', job, 'tokens_' .. name, int(count))
  end
end

note_inference(job_id, ARGV[10])
if window < tonumber(redis.call('HGET', job, 'windows')) then return choose_directive() end
drop_partials(job_id)
for _, segment in ipairs(cjson.decode(ARGV[7])) do
  redis.call('RPUSH', key('segments:' .. job_id), segment)
  log_event(job_id, '{"type":"segment","segment":' .. segment .. '}')
end
for _, warning in ipairs(cjson.decode(ARGV[8])) do
  redis.call('RPUSH', key('warnings:' .. job_id), warning)
end
if ARGV[9] == '0' then redis.call('HSET', job, 'incomplete', 1) end
count_tokens()
measure_speed(job_id, tonumber(ARGV[5]), tonumber(ARGV[10]))
redis.call('HSET', job, 'windows', window + 1, 'resume_sample', ARGV[4], 'processed_s', ARGV[5])
tell(job_id, ARGV[6])
if class_of(read_score(job_id)) ~= BATCH then count_interactive_window(job_id) end
return choose_directive()
