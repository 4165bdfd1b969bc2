-- Fills a cache with what was read from the store, unless something newer is known.
--
-- Deleting the key when the row changes is not enough: whoever read the row before the change may
-- fill the cache after the deletion, and nobody deletes it again. So a value comes with the version
-- it was read at, and an older one than the last invalidation is refused, however late it comes and
-- from whichever replica it was read.
--
--   KEYS[1]  the cache's key
--   ARGV[1]  what it is about: rain:ID, stock:SKU or order:ID
--   ARGV[2]  the value
--   ARGV[3]  how long it may stay, ms
--   ARGV[4…] its version: SHARD:EPOCH-SEQUENCE of each shard that it comes from, read in the same
--            transaction as the value (REPEATABLE READ):
--              of a pool:  SELECT w.shard, w.epoch, w.sequence FROM watermarks w WHERE w.shard IN
--                          (SELECT s.shard FROM slices s JOIN pools p ON p.`key` = s.pool_key
--                           WHERE p.family = 'stock' AND p.name = ?)
--              of an order: the shard that its id carries
--
-- Returns 1 where the value is in the cache now, 0 where it was refused: use it, and do not keep it.
-- It takes the same Redis that Downpour writes to. redis-cli --eval fill.lua KEY , rain:ID VALUE …
local subject = ARGV[1]
local versions, count = {}, 0
for index = 4, #ARGV do
  local shard, epoch, sequence = string.match(ARGV[index], '^(%d+):(%d+)-(%d+)$')
  if not shard then
    return redis.error_reply('ERR a version is SHARD:EPOCH-SEQUENCE, not ' .. ARGV[index])
  end
  versions[shard] = {tonumber(epoch), tonumber(sequence)}
  count = count + 1
end
if count == 0 then return redis.error_reply('ERR a value without a version cannot be kept') end

-- Whether the value was read no earlier than this mark of a shard.
local function knows(shard, mark)
  local version = versions[shard]
  if not version then return false end
  local epoch, sequence = string.match(mark, '^(%d+)-(%d+)$')
  epoch, sequence = tonumber(epoch), tonumber(sequence)
  return version[1] > epoch or (version[1] == epoch and version[2] >= sequence)
end

local last = redis.call('HGETALL', 'downpour:invalidated:' .. subject)
for index = 1, #last, 2 do
  if not knows(last[index], last[index + 1]) then return 0 end
end
for shard in pairs(versions) do
  -- Where changes of a shard were lost on their way, everything older is suspect.
  local floor = redis.call('HGET', 'downpour:floors', shard)
  if floor and not knows(shard, floor) then return 0 end
  -- Not invalidated within a minute, or Redis has lost that: then only what is as new as all that
  -- Redis knows of.
  if #last == 0 then
    local mark = redis.call('HGET', 'downpour:marks', shard)
    if not mark or not knows(shard, mark) then return 0 end
  end
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
