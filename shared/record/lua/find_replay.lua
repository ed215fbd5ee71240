-- ARGV: idempotency key, fingerprint of the request. Answers nothing where the key is free, else whether it
-- stands for the same request, and its NewJob as JSON.
local bound = find_bound(ARGV[1])
if not bound then return false end
return {bound.fingerprint == ARGV[2] and 1 or 0, bound.new_job}
