-- Put behind the prelude: the order of the queue, which is start-time fair queueing over API keys in two classes.
--
-- A job's score is class * 2^52 + start tag * 2^14 + sequence modulo 2^14. Each part is a whole number that ends
-- below the next, so every score is less than 2^53, where a double is exact: tags are seconds of audio, 2^38 of
-- them being 8,700 years, and two jobs of one tag keep the order in which they came unless 16,384 others came
-- between them.
local CLASS, TAG = 2 ^ 52, 2 ^ 14
local BATCH = 1

local function score_of(class, tag, sequence) return class * CLASS + tag * TAG + sequence % TAG end
local function class_of(score) return score >= CLASS and BATCH or 0 end
local function tag_of(score) return math.floor(score % CLASS / TAG) end
local function cost_of(audio_ms) return math.max(1, math.ceil(audio_ms / 1000)) end
local function read_score(job_id) return tonumber(redis.call('HGET', key('job:' .. job_id), 'score')) end

local function count_waiting(class)
  return redis.call('ZCOUNT', key('queued'), int(class * CLASS), '(' .. int((class + 1) * CLASS))
end

-- Where a class has nothing queued or running, what was served before counts for nothing any more.
local function is_class_idle(class)
  if count_waiting(class) > 0 then return false end
  for _, job_id in ipairs(redis.call('ZRANGE', key('running'), 0, -1)) do
    if class_of(read_score(job_id)) == class then return false end
  end
  return true
end

-- The score of a new job of an API key. Virtual time is the start tag of the job claimed last; a key goes on
-- behind what it has queued already, or at virtual time. `tags` holds where each key goes on.
local function take_place(class, key_name, audio_ms)
  local tags = key('tags:' .. class)
  if is_class_idle(class) then redis.call('DEL', tags) end
  local now = tonumber(redis.call('HGET', key('virtual_time'), class) or 0)
  local start = math.max(now, tonumber(redis.call('ZSCORE', tags, key_name) or 0))
  redis.call('ZADD', tags, int(start + cost_of(audio_ms)), key_name)
  return score_of(class, start, redis.call('INCR', key('sequence')))
end

-- Virtual time moves on with the claim of a job, and keys that it has passed need no tag of their own.
local function pass_virtual_time(score)
  local class, tag = class_of(score), tag_of(score)
  if tag <= tonumber(redis.call('HGET', key('virtual_time'), class) or 0) then return end
  redis.call('HSET', key('virtual_time'), class, int(tag))
  redis.call('ZREMRANGEBYSCORE', key('tags:' .. class), '-inf', int(tag))
end

-- A job that leaves the queue unserved costs its key nothing, if it was the last that the key had submitted.
local function give_place_back(job_id)
  local record = redis.call('HMGET', key('job:' .. job_id), 'score', 'audio_ms', 'key_name')
  local score, audio_ms = tonumber(record[1]), tonumber(record[2])
  local tags, start = key('tags:' .. class_of(score)), tag_of(score)
  local goes_on = tonumber(redis.call('ZSCORE', tags, record[3]) or 0)
  if goes_on == start + cost_of(audio_ms) then redis.call('ZADD', tags, int(start), record[3]) end
end

local function served_in_turn_s(job_id)
  local record = redis.call('HMGET', key('job:' .. job_id), 'processed_s', 'turn_from_s')
  return tonumber(record[1]) - tonumber(record[2] or 0)
end

-- A job whose turn was over comes again in its fair place, as its tag then counts all that it was served in that
-- turn: behind those of other keys that have had less, and before the later ones of its own. Only its way back into
-- the queue moves it, since one batch of windows may say several times that the turn is over.
local function pay_for_turn(job_id)
  local job = key('job:' .. job_id)
  if redis.call('HDEL', job, 'is_turn_over') == 0 then return end
  redis.call('HSET', job, 'score', int(read_score(job_id) + math.floor(served_in_turn_s(job_id)) * TAG))
end

local function first_batch_job()
  local first = redis.call('ZRANGEBYSCORE', key('queued'), int(CLASS), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  return first[1], tonumber(first[2])
end

-- Batch gets at least one window in ten: its turn has come after nine windows of interactive jobs while it waited.
local WINDOWS_UNTIL_BATCH = 9

-- The claim of an interactive job counts as its first window, since it may end without any: silence has none.
local function count_interactive_claim(job_id)
  if count_waiting(BATCH) == 0 then return end
  redis.call('INCR', key('windows_since_batch'))
  redis.call('HSET', key('job:' .. job_id), 'is_counted_ahead', 1)
end

local function count_interactive_window(job_id)
  if redis.call('HDEL', key('job:' .. job_id), 'is_counted_ahead') == 1 then return end
  if count_waiting(BATCH) > 0 then redis.call('INCR', key('windows_since_batch')) end
end

local function is_turn_of_batch()
  return tonumber(redis.call('GET', key('windows_since_batch')) or 0) >= WINDOWS_UNTIL_BATCH
end

-- Windows beyond the nine, of an interactive job that was longer, count for the next turn.
local function note_turn_of_batch()
  local since = tonumber(redis.call('GET', key('windows_since_batch')) or 0)
  redis.call('SET', key('windows_since_batch'), int(math.max(0, since - WINDOWS_UNTIL_BATCH)))
end
