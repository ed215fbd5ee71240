-- Lease the delivery that is due first among the hosts that are not full. ARGV: token of this call, lease_ms, max attempts,
-- outcome of an attempt without a report as JSON, ms after its job's end in which a delivery is attempted, full hosts as JSON.
-- Answers {job_id, claim_no, NewJob, state, failure or '', ended_ms}; {ms until one may be due}; or nothing where there is none.
-- A call repeated with the same token (its reply was lost) answers the same delivery.
local token, lease_ms, max_attempts = key('delivery_claim:' .. ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local hosts, now = key('delivery_hosts'), now_ms()
local is_full, full_count = {}, 0
for _, host in ipairs(cjson.decode(ARGV[6])) do
  is_full[host], full_count = true, full_count + 1
end

local function answer(job_id)
  local record = redis.call('HMGET', key('delivery:' .. job_id), 'claim_no', 'new_job', 'state', 'failure', 'ended_ms')
  return {job_id, tonumber(record[1]), record[2], record[3], record[4], tonumber(record[5])}
end

local function find_host()
  local first = redis.call('ZRANGE', hosts, 0, full_count, 'WITHSCORES')
  for at = 1, #first, 2 do
    if not is_full[first[at]] then return first[at], tonumber(first[at + 1]) end
  end
end

-- The host's first delivery if it is due. Otherwise the host's place is corrected, which writers do not do.
local function find_due(host)
  local first = redis.call('ZRANGE', key('deliveries_due:' .. host), 0, 0, 'WITHSCORES')
  if not first[1] then
    redis.call('ZREM', hosts, host)
  elseif tonumber(first[2]) > now then
    redis.call('ZADD', hosts, first[2], host)
  else
    return first[1]
  end
end

-- Answers whether the delivery was leased. If not, it has come to its end, or its record was lost.
local function lease(job_id, host)
  local delivery = key('delivery:' .. job_id)
  local record = redis.call('HMGET', delivery, 'claim_no', 'attempt_ms', 'ended_ms')
  if not record[1] then
    redis.call('ZREM', key('deliveries_due:' .. host), job_id)
    return false
  end
  local is_last = tonumber(record[1]) >= max_attempts or now - tonumber(record[3]) > tonumber(ARGV[5])
  if record[2] then note_attempt(job_id, ARGV[4], not is_last and now or nil) end
  if is_last then
    end_delivery(job_id)
    return false
  end
  redis.call('HINCRBY', delivery, 'claim_no', 1)
  redis.call('HSET', delivery, 'attempt_ms', int(now))
  redis.call('ZADD', key('deliveries_due:' .. host), int(now + lease_ms), job_id)
  -- Hosts take turns: this one now comes after all others that are due, however many deliveries it still has.
  redis.call('ZADD', hosts, int(now), host)
  redis.call('SET', token, job_id, 'PX', int(lease_ms))
  return true
end

local held = redis.call('GET', token)
if held and redis.call('EXISTS', key('delivery:' .. held)) == 1 then return answer(held) end
for _ = 1, 100 do
  local host, due_ms = find_host()
  if not host then return false end
  if due_ms > now then return {due_ms - now} end
  local job_id = find_due(host)
  if job_id and lease(job_id, host) then return answer(job_id) end
end
return {0}
