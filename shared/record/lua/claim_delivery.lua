-- Lease a delivery that is due to a deliverer. ARGV: token of this call, lease_ms, most tries, what
-- `shared.record.deliveries` calls Closed, as JSON, outcome of a try that nobody reported on, least ms by which
-- deliveries are put off to what is closed, id of the deliverer, which is alive by that, ms after which one that did
-- not look is gone, ms after the end of its job in which a delivery is tried.
-- Answers {job_id, claim_no, NewJob, state, failure or '', ended_ms, standing of the receiver}; {ms until one is due};
-- or nothing where there is none. Repeated with the same token (its reply was lost) it answers the same delivery again.
local token, lease_ms, most_tries = key('delivery_claim:' .. ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local due, now = key('deliveries_due'), now_ms()
local closed = {}
for kind, names in pairs(cjson.decode(ARGV[4])) do
  closed[kind] = {}
  for _, name in ipairs(names) do closed[kind][name] = true end
end

local function answer(job_id)
  local record = redis.call('HMGET', key('delivery:' .. job_id),
    'claim_no', 'new_job', 'state', 'failure', 'ended_ms', 'standing')
  return {job_id, tonumber(record[1]), record[2], record[3], record[4], tonumber(record[5]), record[6]}
end

-- What the delivery has to wait for, if for anything: slots of its receiver, its API key or all of such a standing.
local function find_hold(receiver, key_name, standing)
  if closed.receivers[receiver] or closed.unless_quick[receiver] and standing ~= 'quick' then return 'to:' .. receiver end
  if closed.key_names[key_name] then return 'key:' .. key_name end
  if closed.standings[standing] then return 'standing:' .. standing end
  return nil
end

-- Those that wait for the same stand in a line, 10 ms apart for up to a minute: so however many they are, a hundred a
-- second are looked at, or taken once there is room.
local function put_off(job_id, hold)
  local line = key('delivery_line:' .. hold)
  local last_ms = tonumber(redis.call('GET', line) or 0)
  local next_ms = math.min(math.max(now + tonumber(ARGV[6]), last_ms + 10), now + 60000)
  redis.call('SET', line, int(next_ms), 'PX', 60000)
  redis.call('ZADD', due, int(next_ms), job_id)
end

-- Whether the delivery may be tried now; if so, it is this deliverer's.
local function take(job_id)
  local delivery = key('delivery:' .. job_id)
  local record = redis.call('HMGET', delivery, 'receiver', 'claim_no', 'try_ms', 'key_name', 'ended_ms')
  if not record[1] then
    redis.call('ZREM', due, job_id)
    return false
  end
  local is_last = tonumber(record[2]) >= most_tries or now - tonumber(record[5]) > tonumber(ARGV[9])
  if record[3] then note_try(job_id, ARGV[5], not is_last and now or nil) end
  if is_last then
    end_delivery(job_id)
    return false
  end
  local standing = redis.call('GET', key('receiver:' .. record[1])) or 'new'
  local hold = find_hold(record[1], record[4] or '', standing)
  if hold then
    put_off(job_id, hold)
    return false
  end
  redis.call('HINCRBY', delivery, 'claim_no', 1)
  redis.call('HSET', delivery, 'try_ms', int(now), 'standing', standing)
  redis.call('ZADD', due, int(now + lease_ms), job_id)
  redis.call('SET', token, job_id, 'PX', int(lease_ms))
  return true
end

redis.call('ZADD', key('deliverers'), int(now), ARGV[7])
redis.call('ZREMRANGEBYSCORE', key('deliverers'), '-inf', int(now - tonumber(ARGV[8])))
local held = redis.call('GET', token)
if held and redis.call('EXISTS', key('delivery:' .. held)) == 1 then return answer(held) end
for _, job_id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', int(now), 'LIMIT', 0, 100)) do
  if take(job_id) then return answer(job_id) end
end
local first = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
if not first[2] then return false end
return {math.max(0, tonumber(first[2]) - now)}
