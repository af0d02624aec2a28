-- The names of all records. KEYS: the index, in which each has the time at which Redis forgets it.
local time = redis.call('TIME')
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', time[1] * 1000)
return redis.call('ZRANGE', KEYS[1], 0, -1)
