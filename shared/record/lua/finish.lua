-- running -> a final state, `cancelled` whatever was asked for if the job was to be cancelled.
-- ARGV: job_id, claim_no, state, event ('' for a success), failure (or ''), ttl_ms.
-- Answers `finished`, `already` (the same claim finished it before: safe to repeat), `cancelled` where that is how
-- the job ended, now or before, or `stale`.
local job_id, claim_no, state, event_json = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

-- Who follows the events alone must learn what is wrong with the transcript, whichever worker found it.
local function describe_success()
  local is_complete = redis.call('HEXISTS', key('job:' .. job_id), 'incomplete') == 0
  local warnings = redis.call('LRANGE', key('warnings:' .. job_id), 0, -1)
  return '{"type":"succeeded","is_complete":' .. tostring(is_complete)
    .. ',"warnings":[' .. table.concat(warnings, ',') .. ']}'
end

local record = redis.call('HMGET', key('job:' .. job_id), 'state', 'claim_no')
if record[2] == claim_no and record[1] == 'cancelled' then return 'cancelled' end
if record[2] == claim_no and is_final(record[1]) then return 'already' end
if not holds_claim(job_id, claim_no) then return 'stale' end
if close_if_cancelled(job_id) then return 'cancelled' end
if state == 'succeeded' then event_json = describe_success() end
close(job_id, state, event_json, ARGV[5], ARGV[6])
return state == 'cancelled' and 'cancelled' or 'finished'
