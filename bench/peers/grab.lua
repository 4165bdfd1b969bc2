-- One grab as a Redis shop would write it: once per user, the amount comes from a list that was
-- filled when the rain was created.
-- KEYS[1] packets (list of amounts), KEYS[2] claims (hash: user -> amount), ARGV[1] user
local earlier = redis.call('HGET', KEYS[2], ARGV[1])
if earlier then return {'repeat', earlier} end
local amount = redis.call('LPOP', KEYS[1])
if not amount then return {'soldout', '0'} end
redis.call('HSET', KEYS[2], ARGV[1], amount)
return {'granted', amount}
