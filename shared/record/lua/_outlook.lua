-- Put behind the intake: when a job will be done, as far as can be told, and whether a model is there for it.

-- So many of the first queued jobs are added up one by one; behind them each is taken to be as long as the mean of
-- those, since the work of a script has to have an end.
local SUMMED_JOBS = 20
local summed_ms = {[0] = 0}

local function audio_ahead_ms(position)
  local counted = math.min(position, SUMMED_JOBS)
  if #summed_ms < counted then
    for _, job_id in ipairs(redis.call('ZRANGE', key('queued'), #summed_ms, counted - 1)) do
      summed_ms[#summed_ms + 1] = summed_ms[#summed_ms] + audio_left_ms(job_id)
    end
  end
  if position == counted then return summed_ms[counted] end
  local rest_ms = queued_ms('all') - summed_ms[counted]
  return summed_ms[counted] + rest_ms * (position - counted) / (redis.call('ZCARD', key('queued')) - counted)
end

-- What every worker that was seen within that time says of its model, and how many of them take jobs; read once.
local outlook
local function read_outlook(presence_ttl_ms)
  if outlook then return outlook end
  outlook = {model_states = {}, takers = 0, running_ms = running_audio_ms()}
  local oldest = int(now_ms() - tonumber(presence_ttl_ms))
  for _, worker_id in ipairs(redis.call('ZRANGEBYSCORE', key('workers'), oldest, '+inf')) do
    local said = redis.call('HGET', key('model_states'), worker_id) or ''
    local takes_jobs, model_state = string.match(said, '^(%d) (.+)$')
    outlook.model_states[worker_id] = {takes_jobs = takes_jobs == '1', name = model_state}
    if takes_jobs == '1' then outlook.takers = outlook.takers + 1 end
  end
  local speed = redis.call('HMGET', key('speed'), 'audio_s', 'inference_s')
  local inference_s = tonumber(speed[2] or 0)
  if inference_s > 0 then outlook.speed = tonumber(speed[1]) / inference_s end
  return outlook
end

-- Seconds until the job is done, with one decimal; nothing where no worker is there or no speed was measured yet.
-- All workers share what is ahead, and one of them does the job itself.
local function estimate_eta_s(job_id, state, position, presence_ttl_ms)
  if is_final(state) then return nil end
  local now = read_outlook(presence_ttl_ms)
  if now.takers == 0 or not now.speed then return nil end
  local work_ms = audio_left_ms(job_id)
  if state == 'queued' then
    work_ms = work_ms + (now.running_ms + audio_ahead_ms(position)) / now.takers
  end
  return math.floor(work_ms / now.speed / 100 + 0.5) / 10
end

-- The state of the model of the worker that has the job; of a queued one, that which is nearest to being loaded.
local function find_model_state(job_id, state, presence_ttl_ms)
  if is_final(state) then return nil end
  local model_states = read_outlook(presence_ttl_ms).model_states
  if state == 'running' then
    local own = model_states[redis.call('HGET', key('job:' .. job_id), 'owner')]
    return own and own.name
  end
  local nearness, nearest = {loading = 1, ready = 2, busy = 3}, nil
  for _, said in pairs(model_states) do
    if said.takes_jobs and (not nearest or (nearness[said.name] or 0) > (nearness[nearest] or 0)) then
      nearest = said.name
    end
  end
  return nearest
end

-- Where the job stands: its place in the queue, how often it was begun, its eta in s and the state of its model;
-- what is unknown is an empty text.
local function describe_standing(job_id, state, presence_ttl_ms)
  local position = redis.call('ZRANK', key('queued'), job_id)
  local eta_s = estimate_eta_s(job_id, state, position, presence_ttl_ms)
  return {position, attempt(job_id), eta_s and tostring(eta_s) or '',
    find_model_state(job_id, state, presence_ttl_ms) or ''}
end
