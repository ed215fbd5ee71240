-- The version of the record, which every process checks when it starts.

-- Give an empty Redis a version, or take over the record of the release before version 2, which wrote no version: its
-- keys get the prefix of this version. Args: root (the beginning of all keys), version. Returns the version that the
-- record has then; 1 if a process of the unnumbered release has swept in the last 5 s, as all its processes do.
-- That release had one list of due deliveries, and no listener leases: its streams go on to their end.
function commands.open_record(args)
  local version_key = args.root .. 'version'
  local found = redis.call('GET', version_key)
  if found then return found end
  local last_ms = redis.call('HGET', args.root .. 'sweeps', 'last_ms')
  if last_ms and now_ms() - tonumber(last_ms) < 5000 then return '1' end
  for _, old in ipairs(redis.call('KEYS', args.root .. '*')) do
    if string.sub(old, 1, #KEYS[1]) ~= KEYS[1] then
      redis.call('RENAME', old, KEYS[1] .. string.sub(old, #args.root + 1))
    end
  end
  local due = KEYS[1] .. 'deliveries_due'
  for _, job_id in ipairs(redis.call('ZRANGE', due, 0, -1)) do
    local receiver = redis.call('HGET', key(keys.delivery, job_id), 'receiver')
    if receiver then schedule_delivery(job_id, receiver, redis.call('ZSCORE', due, job_id)) end
  end
  for _, name in ipairs({'abandoned', 'abandonment', 'deliverers', 'deliveries_due', 'held', 'sweeps'}) do
    redis.call('DEL', KEYS[1] .. name)
  end
  redis.call('SET', version_key, args.version)
  return tostring(args.version)
end
