"""What the workers of a server let Redis do at once, in Lua.

Every worker says what it holds in all, and not what it holds more than before, with a number that grows: so
a question that was asked twice, or that Redis answers after a later one, changes nothing.
"""

BEAT = """
-- KEYS: workers, generation, wanted, breakers, joined. ARGV: worker, how many there are, whether it knew no
-- earlier generation, a name for a new one, the generation in which it has said what it holds, and how many
-- keys were made or revoked by it since it last said so
local t = redis.call('TIME')
local now = tonumber(t[1]) + tonumber(t[2]) / 1e6
if redis.call('EXISTS', KEYS[2]) == 0 then
    redis.call('HSET', KEYS[2], 'name', ARGV[4], 'at', tostring(now), 'is_first', ARGV[3])
    redis.call('DEL', KEYS[1], KEYS[3], KEYS[5])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 10)
redis.call('ZADD', KEYS[1], now, ARGV[1])
local alive = redis.call('ZCARD', KEYS[1])
local generation = redis.call('HMGET', KEYS[2], 'name', 'at')
if generation[1] == ARGV[5] then redis.call('SADD', KEYS[5], ARGV[1]) end
local is_open = 0
if redis.call('SCARD', KEYS[5]) >= tonumber(ARGV[2]) or now - tonumber(generation[2]) > 2 then is_open = 1 end
local changes = redis.call('HINCRBY', KEYS[2], 'changes', ARGV[6])
local wanted = {}
local all = redis.call('HGETALL', KEYS[3])
for i = 1, #all, 2 do
    if tonumber(all[i + 1]) > now then
        wanted[#wanted + 1] = all[i]
    else
        redis.call('HDEL', KEYS[3], all[i])
    end
end
local opened = {}
all = redis.call('HGETALL', KEYS[4])
for i = 1, #all, 2 do
    local left = tonumber(all[i + 1]) - now
    if left > 0 then
        opened[#opened + 1] = all[i]
        opened[#opened + 1] = tostring(left)
    else
        redis.call('HDEL', KEYS[4], all[i])
    end
end
return {generation[1], alive, is_open, wanted, opened, changes}
"""
"""Say that a worker lives; returns the generation (another one: Redis has forgotten everything), how many
workers live, whether all of them have said what they hold (or had 2 s to do it), which budgets are wanted,
which breakers are open, for how many seconds, and how often keys were changed. A worker that says nothing
for 10 s is dead, and what it holds is free."""

CLAIM = """
-- KEYS: budget, workers, generation, wanted. ARGV: worker, generation, number of this question, limit,
-- what it holds, what it has spent, what it needs, name of the budget, base (empty: not known), whether it
-- may take more
if redis.call('HGET', KEYS[3], 'name') ~= ARGV[2] then return {-2, 0} end
local me, limit, held, needed = 'w:' .. ARGV[1], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[7])
local before = redis.call('HGET', KEYS[1], me)
if before and tonumber(ARGV[3]) <= tonumber(string.match(before, '(%S+)$')) then return {-3, 0} end
if ARGV[10] == '0' then
    redis.call('HSET', KEYS[1], me, ARGV[5] .. ' ' .. ARGV[6] .. ' ' .. ARGV[3])
    return {0, ARGV[5]}
end
local base = redis.call('HGET', KEYS[1], 'base')
if not base then
    if ARGV[9] == '' then return {-1, 0} end
    base = ARGV[9]
    redis.call('HSET', KEYS[1], 'base', base)
end
base = tonumber(base)
local of_others, spent_by_others = 0, 0
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
    local field = all[i]
    if field ~= me and string.sub(field, 1, 2) == 'w:' then
        local h, s = string.match(all[i + 1], '^(%S+) (%S+) %S+$')
        if redis.call('ZSCORE', KEYS[2], string.sub(field, 3)) then
            of_others = of_others + tonumber(h)
            spent_by_others = spent_by_others + tonumber(s)
        else
            base = base + tonumber(s)
            redis.call('HDEL', KEYS[1], field)
            redis.call('HSET', KEYS[1], 'base', string.format('%.0f', base))
        end
    end
end
local left = limit - base - of_others
local status = 1
if needed > left then
    status = 0
    if needed <= limit - base - spent_by_others then
        local t = redis.call('TIME')
        redis.call('HSET', KEYS[4], ARGV[8], tostring(tonumber(t[1]) + tonumber(t[2]) / 1e6 + 1))
        status = 2
    end
elseif redis.call('HEXISTS', KEYS[4], ARGV[8]) == 1 then
    held = math.max(held, needed)
else
    local alive = math.max(1, redis.call('ZCARD', KEYS[2]))
    held = math.max(held, math.floor(needed + (left - needed) / alive))
end
redis.call('HSET', KEYS[1], me, string.format('%.0f %s %s', held, ARGV[6], ARGV[3]))
return {status, string.format('%.0f', held)}
"""
"""Take of a budget what is needed, and a share of the rest to go on with. Returns a status and what is held
now, in nano-dollars: 1, enough; 0, more than is left; 2, others hold it, and are asked to give back what they
do not need; -1, nobody has said what was spent before; -2, another generation; -3, an old question."""

TAKE = """
-- KEYS: bucket, generation. ARGV: requests per minute, whether what was in it is spent
local t = redis.call('TIME')
local now, most = tonumber(t[1]) + tonumber(t[2]) / 1e6, tonumber(ARGV[1])
local per_s = most / 60
most = math.max(1, most)
local bucket = redis.call('HMGET', KEYS[1], 'level', 'at')
local level = tonumber(bucket[1])
if level then
    level = math.min(most, level + (now - tonumber(bucket[2])) * per_s)
else
    local generation = redis.call('HMGET', KEYS[2], 'at', 'is_first')
    level = most
    if generation[1] and generation[2] == '0' then
        level = math.min(most, (now - tonumber(generation[1])) * per_s)
    end
end
if ARGV[2] == '1' then level = math.min(level, 0) end
local wait = 0
if level < 1 then wait = (1 - level) / per_s else level = level - 1 end
redis.call('HSET', KEYS[1], 'level', tostring(level), 'at', tostring(now))
redis.call('PEXPIRE', KEYS[1], math.ceil(most / per_s * 1000) + 1000)
return tostring(wait)
"""
"""Take one of a bucket of requests; returns the seconds until there is one, 0: it was taken."""

OPEN = """
-- KEYS: breakers. ARGV: channel, seconds (0: it is closed)
local t = redis.call('TIME')
if tonumber(ARGV[2]) <= 0 then return redis.call('HDEL', KEYS[1], ARGV[1]) end
local now = tonumber(t[1]) + tonumber(t[2]) / 1e6
return redis.call('HSET', KEYS[1], ARGV[1], tostring(now + tonumber(ARGV[2])))
"""
"""Say that a breaker has opened, or is closed again."""

LEAVE = """
-- KEYS: workers, joined. ARGV: worker
redis.call('SREM', KEYS[2], ARGV[1])
return redis.call('ZREM', KEYS[1], ARGV[1])
"""
"""Say that a worker has ended: what it holds is free, and what it spent is remembered."""
