-- Whether a job would be taken in now. ARGV: what `shared.job_intake` calls terms, as JSON.
-- Answers the backlog, what there is no room for (or ''), and 1 where the idempotency key stands for a job.
local terms = cjson.decode(ARGV[1])
return {
  describe_backlog(terms.key_name, terms.presence_ttl_ms),
  find_lack(terms.key_name, terms.limits, 1) or '',
  find_bound(terms.idempotency_key) and 1 or 0,
}
