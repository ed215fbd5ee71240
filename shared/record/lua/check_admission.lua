-- Whether a job would be taken in now. ARGV: what `shared.record.admission` calls terms, as JSON.
-- Answers the backlog, what there is no room for (or ''), 1 where the idempotency key stands for a job, and the ms of
-- audio that an interactive job of the key would find queued before it.
local INTERACTIVE = 0
local terms = cjson.decode(ARGV[1])

-- It would be placed as by `take_place`: behind all that were queued with its start tag, or an earlier one.
local function count_ahead()
  local now = tonumber(redis.call('HGET', key('virtual_time'), INTERACTIVE) or 0)
  local start = math.max(now, tonumber(redis.call('ZSCORE', key('tags:' .. INTERACTIVE), terms.key_name) or 0))
  return redis.call('ZCOUNT', key('queued'), '-inf', '(' .. int(score_of(INTERACTIVE, start + 1, 0)))
end

-- Those that are not added up are as long as the ones that are, and not as the batch jobs behind them.
local function interactive_ahead_ms()
  local ahead = count_ahead()
  local counted = math.min(ahead, SUMMED_JOBS)
  return counted == 0 and 0 or math.floor(audio_ahead_ms(counted) * ahead / counted)
end

return {
  describe_backlog(terms.key_name, terms.presence_ttl_ms),
  find_exceeded_limit(terms.key_name, terms.limits, 1) or '',
  find_bound(terms.idempotency_key) and 1 or 0,
  interactive_ahead_ms(),
}
