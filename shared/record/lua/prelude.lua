-- The beginning of the one script of the job record: `EVALSHA sha 1 PREFIX COMMAND ARGUMENTS`, ARGUMENTS being a JSON
-- object. schema.md describes the keys and fields.
--
-- shared/record/scripts.py joins the files of this folder in the order of their dependencies. It replaces `keys.NAME`
-- by the key name in shared/record/keys.py. After each file it inserts the dispatch: a command runs as soon as it is
-- defined. Lua builds all functions anew on each call, so the frequent commands stand in the first files and do not
-- pay for the later ones.
--
-- Numbers are doubles, exact below 2^53, but `..` and cjson write only 14 digits of them. `int` writes all digits.
-- Times are those of the Redis server's clock, the only one that counts.
local commands = {}

local function key(name, part) return KEYS[1] .. name .. (part or '') end
local function int(number) return string.format('%d', number) end

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Return fields of a job; false for each that is missing.
local function get(job_id, ...) return unpack(redis.call('HMGET', key(keys.job, job_id), ...)) end
local function set(job_id, ...) redis.call('HSET', key(keys.job, job_id), ...) end

local function is_final(state)
  return state == 'succeeded' or state == 'failed' or state == 'cancelled'
end

-- Check the fence: `args` has the job_id and claim_no of a worker's claim.
local function holds_claim(args)
  local state, claim_no = get(args.job_id, 'state', 'claim_no')
  return state == 'running' and tonumber(claim_no) == args.claim_no
end

-- Return `here`; `gone` if only the name of the job's API key is left; nothing if the owner has no such job. The owner
-- is the name of an API key, or nil for any.
local function find_own(job_id, owner)
  local state, key_name = get(job_id, 'state', 'key_name')
  key_name = key_name or redis.call('GET', key(keys.gone, job_id))
  if not key_name or owner and owner ~= key_name then return nil end
  return state and 'here' or 'gone'
end

local function read_directive(job_id)
  return get(job_id, 'cancel') and 'cancel' or 'go_on'
end
