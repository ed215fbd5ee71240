-- Put after the prelude: the clock of leases.
--
-- A worker has a lease on the job that it runs (`running`). A job that lives only while a client listens to it has a
-- listener lease (`listener_leases`). Both are sorted sets of jobs, by the ms of this clock in which the lease expires.
--
-- Between two sweeps the clock advances by at most MAX_STEP_MS. While this server is away, frozen or refuses writes, or
-- all its clients stand still, no lease can be renewed. There are no sweeps then either, so the clock stands still.
local MAX_STEP_MS = 1000

local function lease_clock_ms()
  local record, now = redis.call('HMGET', key('lease_clock'), 'clock_ms', 'ticked_ms'), now_ms()
  if not record[1] then return now end
  local elapsed_ms = now - tonumber(record[2])
  return tonumber(record[1]) + math.min(math.max(elapsed_ms, 0), MAX_STEP_MS)
end

local function tick_lease_clock()
  redis.call('HSET', key('lease_clock'), 'clock_ms', int(lease_clock_ms()), 'ticked_ms', int(now_ms()))
end
