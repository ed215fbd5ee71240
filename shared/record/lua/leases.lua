-- Leases: that of a worker on the job it runs, and that of a listener on a job that lives only while a client listens.
--
-- `running` and `listener_leases` hold jobs by the ms of the lease clock in which the lease expires. Between two sweeps
-- that clock advances by at most MAX_STEP_MS. While the server is away, frozen or refuses writes, or all its clients
-- stand still, no lease can be renewed. There are no sweeps then either, so the clock stands still.
local MAX_STEP_MS = 1000

local function lease_clock_ms()
  local record, now = redis.call('HMGET', key(keys.lease_clock), 'clock_ms', 'ticked_ms'), now_ms()
  if not record[1] then return now end
  local elapsed_ms = now - tonumber(record[2])
  return tonumber(record[1]) + math.min(math.max(elapsed_ms, 0), MAX_STEP_MS)
end

local function grant_lease(leases, job_id, lease_ms)
  redis.call('ZADD', key(leases), int(lease_clock_ms() + lease_ms), job_id)
end

-- Renew the leases of a worker. Args: claims (each {job_id, claim_no}), lease_ms. Returns a directive for each claim.
function commands.beat(args)
  local directives = {}
  for i, claim in ipairs(args.claims) do
    directives[i] = 'stale'
    if holds_claim(claim) then
      grant_lease(keys.running, claim.job_id, args.lease_ms)
      directives[i] = read_directive(claim.job_id)
    end
  end
  return directives
end

-- Renew the listener leases of these jobs; jobs without one stay without. Args: job_ids. Returns the number of leases.
function commands.renew_listeners(args)
  local leases, clock_ms, renewed = key(keys.listener_leases), lease_clock_ms(), 0
  for _, job_id in ipairs(args.job_ids) do
    if redis.call('ZSCORE', leases, job_id) then
      redis.call('ZADD', leases, int(clock_ms + get(job_id, 'listener_lease_ms')), job_id)
      renewed = renewed + 1
    end
  end
  return renewed
end
