-- The workers that are alive.

-- A worker that is silent for longer counts as gone.
local PRESENCE_TTL_MS = 15000

-- Record that a worker is alive. Args: worker_id, presence (JSON text), takes_jobs, model_state, max_rows.
function commands.announce_worker(args)
  redis.call('ZADD', key(keys.workers), int(now_ms()), args.worker_id)
  redis.call('HSET', key(keys.presence), args.worker_id, args.presence)
  redis.call('HSET', key(keys.model_states), args.worker_id,
    (args.takes_jobs and '1 ' or '0 ') .. args.model_state .. ' ' .. int(args.max_rows))
  return 1
end

-- Return the presence of each live worker, and forget the other workers.
local function read_presences()
  local oldest = int(now_ms() - PRESENCE_TTL_MS)
  for _, worker_id in ipairs(redis.call('ZRANGEBYSCORE', key(keys.workers), '-inf', '(' .. oldest)) do
    redis.call('ZREM', key(keys.workers), worker_id)
    redis.call('HDEL', key(keys.presence), worker_id)
    redis.call('HDEL', key(keys.model_states), worker_id)
  end
  return redis.call('HVALS', key(keys.presence))
end

function commands.read_workers() return read_presences() end

-- Return the model state of each worker seen within so many ms, as `1 ready 16`, or `0 ready 16` if it takes no jobs. The
-- last number is the rows of its batches.
local function read_model_states(within_ms)
  local states = {}
  local oldest = int(now_ms() - within_ms)
  for _, worker_id in ipairs(redis.call('ZRANGEBYSCORE', key(keys.workers), oldest, '+inf')) do
    states[worker_id] = redis.call('HGET', key(keys.model_states), worker_id) or nil
  end
  return states
end
