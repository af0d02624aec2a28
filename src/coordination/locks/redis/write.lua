-- Writes a record if it is still the one that was read, and tells the watchers.
-- KEYS: the record, the last revision, the index. ARGV: the revision that was read (empty: there was no record), the channel, what is done
-- (take, renew or free), the milliseconds for which a record outlives its ttl, then fields and values.
if (redis.call('HGET', KEYS[1], 'revision') or '') ~= ARGV[1] then
  return false
end
-- Revisions grow for ever: also after a loss of the data, when the last one is not known any more, as long as the clock does not go back.
local time = redis.call('TIME')
local micros = time[1] * 1000000 + time[2]
local revision = string.format('%.0f', math.max(micros, tonumber(redis.call('GET', KEYS[2]) or '0') + 1))
redis.call('SET', KEYS[2], revision)
if ARGV[3] ~= 'renew' then
  redis.call('DEL', KEYS[1])
  redis.call('ZREM', KEYS[3], KEYS[1])
end
if ARGV[3] ~= 'free' then
  redis.call('HSET', KEYS[1], 'revision', revision, unpack(ARGV, 5))
  redis.call('HSETNX', KEYS[1], 'fence', revision)
  local kept = redis.call('HGET', KEYS[1], 'ttl') * 1000 + ARGV[4]
  redis.call('PEXPIRE', KEYS[1], kept)
  redis.call('ZADD', KEYS[3], math.floor(micros / 1000) + kept, KEYS[1])
end
local told = redis.call('HGETALL', KEYS[1])
table.insert(told, 1, KEYS[1])
table.insert(told, 2, revision)
redis.call('PUBLISH', ARGV[2], cjson.encode(told))
return told
