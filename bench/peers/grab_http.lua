-- The same for the HTTP front: a retry must get the same amount, packet and time, so the list
-- holds "amount:packet" and the claim "amount:packet:ms".
-- KEYS[1] packets, KEYS[2] claims, ARGV[1] user, ARGV[2] now in ms
local earlier = redis.call('HGET', KEYS[2], ARGV[1])
if earlier then return {'repeat', earlier} end
local packet = redis.call('LPOP', KEYS[1])
if not packet then return {'soldout', ''} end
local claim = packet .. ':' .. ARGV[2]
redis.call('HSET', KEYS[2], ARGV[1], claim)
return {'granted', claim}
