-- The queue: the audio in it, and its order. The order is start-time fair queueing over API keys, in two classes.

-- Check the version of the record before work enters or leaves the queue: Redis may have been away when this process
-- started, or been replaced since. A Redis without any record gets this version; an old one waits for `open_record`.
local function is_record_open()
  local root, version = string.match(KEYS[1], '^(.+:)(%d+):$')
  if not root then return true end
  local found = redis.call('GET', root .. 'version')
  if found then return found == version end
  if redis.call('EXISTS', root .. 'sweeps', root .. 'queued', root .. 'running') > 0 then return false end
  redis.call('SET', root .. 'version', version)
  return true
end

local function audio_left_ms(job_id)
  local audio_ms, processed_s = get(job_id, 'audio_ms', 'processed_s')
  return math.max(0, tonumber(audio_ms or 0) - math.floor(tonumber(processed_s or 0) * 1000))
end

-- Return the rows that a job takes in a batch, as `shared.record.claims.count_rows`.
local function count_rows(audio_ms, window_ms) return math.max(1, math.ceil(audio_ms / window_ms - 0.1)) end

local function queued_ms(whose)
  return tonumber(redis.call('HGET', key(keys.queued_ms), whose) or 0)
end

-- Jobs enter and leave the queue only by these two functions, which count the audio in it.
local function count_audio(job_id, sign)
  local change = int(sign * audio_left_ms(job_id))
  for _, whose in ipairs({'all', 'key:' .. (get(job_id, 'key_name') or '')}) do
    if redis.call('HINCRBY', key(keys.queued_ms), whose, change) == 0 then
      redis.call('HDEL', key(keys.queued_ms), whose)
    end
  end
end

local function enter_queue(job_id)
  local score, is_alone = get(job_id, 'score', 'is_alone')
  if redis.call('ZADD', key(keys.queued), score, job_id) == 1 then
    if is_alone then redis.call('ZADD', key(keys.alone), score, job_id) end
    count_audio(job_id, 1)
    redis.call('PUBLISH', key(keys.job_queued), '')
  end
end

local function leave_queue(job_id)
  if redis.call('ZREM', key(keys.queued), job_id) == 1 then
    redis.call('ZREM', key(keys.alone), job_id)
    count_audio(job_id, -1)
  end
end

-- A score is class * 2^52 + start tag * 2^14 + sequence modulo 2^14. Each part is a whole number below the next one, so
-- a score is less than 2^53, where a double is exact. Tags are seconds of audio; 2^38 of them are 8,700 years. Two jobs
-- with one tag keep the order of their submits unless 16,384 others came between them.
local CLASS, TAG = 2 ^ 52, 2 ^ 14
local INTERACTIVE, BATCH = 0, 1

local function score_of(class, tag, sequence) return class * CLASS + tag * TAG + sequence % TAG end
local function class_of(score) return score >= CLASS and BATCH or INTERACTIVE end
local function tag_of(score) return math.floor(score % CLASS / TAG) end
local function cost_of(audio_ms) return math.max(1, math.ceil(audio_ms / 1000)) end
local function read_score(job_id) return tonumber(get(job_id, 'score')) end

local function count_waiting(class)
  return redis.call('ZCOUNT', key(keys.queued), int(class * CLASS), '(' .. int((class + 1) * CLASS))
end

-- Return the start tag for a key's next job. Virtual time is the start tag of the job that was claimed last. A key goes
-- on after the jobs it has queued, or at virtual time; `tags` holds the place where each key goes on.
local function start_tag(class, key_name)
  local now = tonumber(redis.call('HGET', key(keys.virtual_time), class) or 0)
  return math.max(now, tonumber(redis.call('ZSCORE', key(keys.tags, class), key_name) or 0))
end

local function take_place(class, key_name, audio_ms)
  -- Once a class has neither queued nor running jobs, earlier service no longer counts.
  local function is_class_idle()
    if count_waiting(class) > 0 then return false end
    for _, job_id in ipairs(redis.call('ZRANGE', key(keys.running), 0, -1)) do
      if class_of(read_score(job_id)) == class then return false end
    end
    return true
  end
  if is_class_idle() then redis.call('DEL', key(keys.tags, class)) end
  local start = start_tag(class, key_name)
  redis.call('ZADD', key(keys.tags, class), int(start + cost_of(audio_ms)), key_name)
  return score_of(class, start, redis.call('INCR', key(keys.sequence)))
end

-- Move virtual time on with the claim of a job. A key whose tag it has passed needs no tag.
local function pass_virtual_time(score)
  local class, tag = class_of(score), tag_of(score)
  if tag <= tonumber(redis.call('HGET', key(keys.virtual_time), class) or 0) then return end
  redis.call('HSET', key(keys.virtual_time), class, int(tag))
  redis.call('ZREMRANGEBYSCORE', key(keys.tags, class), '-inf', int(tag))
end

-- A job that leaves the queue unserved costs its key nothing, if it is the last job that the key has submitted.
local function give_place_back(job_id)
  local score, audio_ms, key_name = get(job_id, 'score', 'audio_ms', 'key_name')
  local tags, start = key(keys.tags, class_of(tonumber(score))), tag_of(tonumber(score))
  local goes_on = tonumber(redis.call('ZSCORE', tags, key_name) or 0)
  if goes_on == start + cost_of(tonumber(audio_ms)) then redis.call('ZADD', tags, int(start), key_name) end
end

local function served_in_turn_s(job_id)
  local processed_s, turn_from_s = get(job_id, 'processed_s', 'turn_from_s')
  return tonumber(processed_s) - tonumber(turn_from_s or 0)
end

-- A job whose turn is over moves back by the audio it was served in that turn: after jobs of other keys that have had
-- less, and before the later jobs of its own key. It moves only on its way back into the queue, since the worker may
-- finish several windows after its turn is over.
local function pay_for_turn(job_id)
  if redis.call('HDEL', key(keys.job, job_id), 'is_turn_over') == 0 then return end
  set(job_id, 'score', int(read_score(job_id) + math.floor(served_in_turn_s(job_id)) * TAG))
end

-- Return the first job of a class in `queued` or `alone`, and its score.
local function first_of(class, jobs)
  local first = redis.call('ZRANGEBYSCORE', key(jobs), int(class * CLASS), '(' .. int((class + 1) * CLASS), 'WITHSCORES',
    'LIMIT', 0, 1)
  return first[1], tonumber(first[2])
end

-- Batch gets at least one window in ten: its turn comes after nine windows of interactive jobs while it waited.
local WINDOWS_UNTIL_BATCH = 9

local function windows_since_batch()
  return tonumber(redis.call('GET', key(keys.windows_since_batch)) or 0)
end

-- The claim of an interactive job counts as its first window, since a silent file has no window at all.
local function count_interactive_claim(job_id)
  if count_waiting(BATCH) == 0 then return end
  redis.call('INCR', key(keys.windows_since_batch))
  set(job_id, 'is_counted_ahead', 1)
end

local function count_interactive_window(job_id)
  if redis.call('HDEL', key(keys.job, job_id), 'is_counted_ahead') == 1 then return end
  if count_waiting(BATCH) > 0 then redis.call('INCR', key(keys.windows_since_batch)) end
end

-- Windows beyond the nine, of a longer interactive job, count for the next turn.
local function begin_batch_turn()
  redis.call('SET', key(keys.windows_since_batch), int(math.max(0, windows_since_batch() - WINDOWS_UNTIL_BATCH)))
end
