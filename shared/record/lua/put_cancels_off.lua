-- Somebody follows these jobs: if they are abandoned, they are due anew. ARGV: resume_ms, ids of jobs.
-- Answers how many were.
local due, found = int(now_ms() + tonumber(ARGV[1])), 0
for i = 2, #ARGV do
  -- Most that is followed is not abandoned, and needs no server that takes writes.
  if redis.call('ZSCORE', key('abandoned'), ARGV[i]) then
    redis.call('ZADD', key('abandoned'), due, ARGV[i])
    found = found + 1
  end
end
return found
