-- Appends ARGV[1] packets numbered from ARGV[2]: double-mean amounts (uniform in 1..2*mean-1,
-- mean ARGV[3] fen). ARGV[4] = '1': "amount:packet", else the amount alone.
math.randomseed(tonumber(ARGV[2]))
local count, first, mean = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local batch = {}
for k = first, first + count - 1 do
    local amount = math.random(1, 2 * mean - 1)
    if ARGV[4] == '1' then amount = amount .. ':' .. string.format('%d', k) end
    batch[#batch + 1] = amount
    if #batch == 1000 then
        redis.call('RPUSH', KEYS[1], unpack(batch))
        batch = {}
    end
end
if #batch > 0 then redis.call('RPUSH', KEYS[1], unpack(batch)) end
return redis.call('LLEN', KEYS[1])
