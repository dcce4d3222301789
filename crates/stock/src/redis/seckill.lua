#!lua name=seckill
-- The stock store as a function library (Redis 7 or Valkey). Every function is atomic for its sale.
--
-- A sale's keys share the hash tag {sale}, so a cluster keeps them together; each function is given all
-- the keys it touches. Times are milliseconds by this server's clock. Numbers are doubles: exact far
-- beyond any count, version or epoch that occurs.
--
--   state    hash     counts, terms, epoch and change counter
--   records  hash     reservation id -> record; the id is the order id's 16 bytes, and one more if late
--   buyers   hash     buyer -> live units
--   ages     zset     reservations not settled, by when they were made
--   graves   zset     released reservations, by when their ticket expires
--   draft, draft records, draft buyers    a state that is being rebuilt

-- Rises with every change of this file. A newer library must serve the callers of an older one.
local VERSION = 1

-- What every function answers for a sale whose state is not in force.
local UNKNOWN = -1

-- Tombstones cleared away by one call at most.
local GRAVES_PER_RELEASE = 16
local GRAVES_PER_SWEEP = 1000

-- The library's own memory. It is neither persisted nor replicated: after a restart, with an old snapshot
-- restored, on a promoted replica or in a freshly loaded library it is empty, and whatever the keys then
-- say is not the truth until a rebuild has written it.
local armed = {} -- key of a sale's state -> the epoch put in force by rebuild_finish
local drafts = {} -- key of a sale's state -> the permission of the rebuild under way

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The state's fields, the epoch first; nil if the sale is not in force here.
local function in_force(key, ...)
  local epoch = armed[key]
  if not epoch then
    return nil
  end
  local state = redis.call('HMGET', key, 'epoch', ...)
  if state[1] ~= epoch then
    -- The key is gone, or was written by another server: it stays unknown, even if it comes back.
    armed[key] = nil
    return nil
  end
  return state
end

-- A record is one letter (R reserved, S settled, X released), its numbers, and the buyer.
local NUMBERS = '>I4I6I6'
local TIME_MAX = 2 ^ 48 - 1

local function encode(letter, quantity, reserved_at, expires_at, buyer)
  local expiry = math.min(math.max(expires_at, 0), TIME_MAX)
  return letter .. struct.pack(NUMBERS, quantity, reserved_at, expiry) .. buyer
end

local function decode(record)
  local quantity, reserved_at, expires_at, rest = struct.unpack(NUMBERS, record, 2)
  return string.sub(record, 1, 1), quantity, reserved_at, expires_at, string.sub(record, rest)
end

-- Removes tombstones whose ticket has expired. An id that was reserved once more since is left alone.
local function clear_graves(records, graves, moment, most)
  local ids = redis.call('ZRANGEBYSCORE', graves, '-inf', moment, 'LIMIT', 0, most)
  if #ids == 0 then
    return
  end
  local found = redis.call('HMGET', records, unpack(ids))
  local gone = {}
  for i, id in ipairs(ids) do
    if found[i] and string.sub(found[i], 1, 1) == 'X' then
      gone[#gone + 1] = id
    end
  end
  if #gone > 0 then
    redis.call('HDEL', records, unpack(gone))
  end
  redis.call('ZREM', graves, unpack(ids))
end

-- Answers of reserve; 8 and 9 come with a number.
local RESERVED, ALREADY, SETTLED, FINISHED, MISMATCH, EXPIRED, STALE, LIMIT = 0, 1, 2, 3, 4, 5, 6, 7
local SOLD_OUT, NOT_ENOUGH, NOT_OPEN, PAUSED, ENDED = 8, 9, 10, 11, 12
local KNOWN = { R = ALREADY, S = SETTLED, X = FINISHED }

-- What a known id is answered; nil if it is not known, or its tombstone's time is over.
local function known_as(record, wanted, moment)
  if not record then
    return nil
  end
  local letter, quantity, _, expires_at = decode(record)
  if letter == 'X' and expires_at <= moment then
    return nil
  end
  return quantity == wanted and KNOWN[letter] or MISMATCH
end

local function closed(phase, opens_at, ends_at, moment)
  if phase == 'ended' or moment >= tonumber(ends_at) then
    return ENDED
  elseif moment < tonumber(opens_at) then
    return NOT_OPEN
  elseif phase == 'paused' then
    return PAUSED
  end
  return nil
end

-- keys: state, records, buyers, ages. args: id, buyer, quantity, epoch, expires_at.
local function reserve(keys, args)
  local state = in_force(keys[1], 'free', 'reserved', 'reservations', 'changes', 'phase', 'opens_at', 'ends_at', 'limit')
  if not state then
    return UNKNOWN
  end
  local moment = now()
  local id, buyer, quantity, expires_at = args[1], args[2], tonumber(args[3]), tonumber(args[5])
  local known = known_as(redis.call('HGET', keys[2], id), quantity, moment)
  if known then
    return known
  end
  if moment >= expires_at then
    return EXPIRED
  end
  if args[4] ~= state[1] then
    return STALE
  end
  -- Money that came late may take a unit whenever there is one.
  local refusal = #id == 16 and closed(state[6], state[7], state[8], moment)
  if refusal then
    return refusal
  end
  local held = tonumber(redis.call('HGET', keys[3], buyer) or 0)
  if held + quantity > tonumber(state[9]) then
    return LIMIT
  end
  local free = tonumber(state[2])
  if free == 0 then
    return { SOLD_OUT, state[5] }
  end
  if quantity > free then
    return { NOT_ENOUGH, free }
  end
  redis.call('HSET', keys[2], id, encode('R', quantity, moment, expires_at, buyer))
  redis.call('HSET', keys[3], buyer, held + quantity)
  redis.call('ZADD', keys[4], moment, id)
  local left = { 'free', free - quantity, 'reserved', state[3] + quantity, 'reservations', state[4] + 1 }
  if free == quantity then
    left[7], left[8] = 'changes', state[5] + 1
  end
  redis.call('HSET', keys[1], unpack(left))
  return RESERVED
end

-- keys: state, records. args: id. Answers 0 (nothing), 1 (released), or what is held.
local function peek(keys, args)
  if not in_force(keys[1]) then
    return UNKNOWN
  end
  local record = redis.call('HGET', keys[2], args[1])
  if not record then
    return 0
  end
  local letter, quantity, reserved_at, expires_at, buyer = decode(record)
  if letter == 'X' then
    return expires_at > now() and 1 or 0
  end
  return { letter, buyer, quantity, reserved_at }
end

-- keys: state.
local function view(keys)
  local state = in_force(keys[1], 'changes', 'phase', 'opens_at', 'ends_at', 'free')
  if not state then
    return UNKNOWN
  end
  state[#state + 1] = now()
  return state
end

-- keys: state. A view, and the other counts.
local function snapshot(keys)
  local state = view(keys)
  if state == UNKNOWN then
    return UNKNOWN
  end
  for _, count in
    ipairs(redis.call('HMGET', keys[1], 'reserved', 'reservations', 'settled', 'total', 'total_version'))
  do
    state[#state + 1] = count
  end
  return state
end

-- keys: state, records, ages. args: id.
local function settle(keys, args)
  local state = in_force(keys[1], 'reserved', 'reservations', 'settled')
  if not state then
    return UNKNOWN
  end
  local record = redis.call('HGET', keys[2], args[1])
  if not record or string.sub(record, 1, 1) ~= 'R' then
    return 0
  end
  local _, quantity = decode(record)
  redis.call('HSET', keys[2], args[1], 'S' .. string.sub(record, 2))
  redis.call('ZREM', keys[3], args[1])
  redis.call('HSET', keys[1], 'reserved', state[2] - quantity, 'reservations', state[3] - 1, 'settled', state[4] + quantity)
  return 0
end

-- Turns a record that holds units into a tombstone, which is kept until its ticket expires.
local function bury(keys, id, record, moment)
  local letter, quantity, _, expires_at, buyer = decode(record)
  if expires_at > moment then
    redis.call('HSET', keys[2], id, 'X' .. string.sub(record, 2))
    redis.call('ZADD', keys[5], expires_at, id)
  else
    redis.call('HDEL', keys[2], id)
  end
  if redis.call('HINCRBY', keys[3], buyer, -quantity) <= 0 then
    redis.call('HDEL', keys[3], buyer)
  end
  if letter == 'R' then
    redis.call('ZREM', keys[4], id)
  end
  return letter, quantity
end

-- keys: state, records, buyers, ages, graves. args: id. Answers units, from zero, epoch, changes.
local function release(keys, args)
  local state = in_force(keys[1], 'changes', 'free', 'reserved', 'reservations', 'settled', 'total')
  if not state then
    return UNKNOWN
  end
  local moment, id = now(), args[1]
  local changes, free, reserved, reservations = tonumber(state[2]), tonumber(state[3]), tonumber(state[4]), tonumber(state[5])
  local settled, before, units = tonumber(state[6]), free, 0
  local record = redis.call('HGET', keys[2], id)
  if record and string.sub(record, 1, 1) ~= 'X' then
    local letter
    letter, units = bury(keys, id, record, moment)
    if letter == 'R' then
      reserved, reservations = reserved - units, reservations - 1
    else
      settled = settled - units
    end
    -- Not free + units: a total that was lowered below what is held takes these first.
    free = math.max(state[7] - reserved - settled, 0)
    changes = before == 0 and changes + 1 or changes
    redis.call('HSET', keys[1], 'changes', changes, 'free', free, 'reserved', reserved, 'reservations', reservations, 'settled', settled)
  end
  clear_graves(keys[2], keys[5], moment, GRAVES_PER_RELEASE)
  return { units, before == 0 and free > 0 and 1 or 0, state[1], changes }
end

-- keys: state. args: version, opens_at, ends_at, phase, limit. Answers epoch, changes.
local function configure(keys, args)
  local state = in_force(keys[1], 'version', 'changes')
  if not state then
    return UNKNOWN
  end
  local changes = tonumber(state[3])
  if tonumber(args[1]) > tonumber(state[2]) then
    changes = changes + 1
    redis.call('HSET', keys[1], 'version', args[1], 'opens_at', args[2], 'ends_at', args[3], 'phase', args[4], 'limit', args[5], 'changes', changes)
  end
  return { state[1], changes }
end

-- keys: state. args: total, version. Answers like release.
local function set_total(keys, args)
  local state = in_force(keys[1], 'changes', 'free', 'reserved', 'settled', 'total_version')
  if not state then
    return UNKNOWN
  end
  local changes, before = tonumber(state[2]), tonumber(state[3])
  local free = before
  if tonumber(args[2]) > tonumber(state[6]) then
    free = math.max(args[1] - state[4] - state[5], 0)
    changes = changes + 1
    redis.call('HSET', keys[1], 'total', args[1], 'total_version', args[2], 'free', free, 'changes', changes)
  end
  return { math.max(free - before, 0), before == 0 and free > 0 and 1 or 0, state[1], changes }
end

-- keys: state, records, ages, graves. args: age_ms, limit. Answers id, buyer, quantity, reserved_at of
-- each. It is asked for regularly, so it also clears tombstones away.
local function stale(keys, args)
  if not in_force(keys[1]) then
    return UNKNOWN
  end
  local moment, found = now(), {}
  clear_graves(keys[2], keys[4], moment, GRAVES_PER_SWEEP)
  local ids = redis.call('ZRANGEBYSCORE', keys[3], '-inf', moment - args[1], 'LIMIT', 0, args[2])
  for _, id in ipairs(ids) do
    local _, quantity, reserved_at, _, buyer = decode(redis.call('HGET', keys[2], id))
    for _, part in ipairs({ id, buyer, quantity, reserved_at }) do
      found[#found + 1] = part
    end
  end
  return found
end

local function permission(args)
  return args[1] .. ':' .. args[2]
end

-- Whether this rebuild may still write: nobody began after it, and neither this memory nor the keys
-- were lost since.
local function permitted(state, draft, args)
  local mine = permission(args)
  return drafts[state] == mine and redis.call('HGET', draft, 'permission') == mine
end

-- keys: state, draft, draft records, draft buyers. args: epoch, token.
local function rebuild_begin(keys, args)
  -- Also over a state that is not in force, only a higher epoch may be written.
  local there = redis.call('HGET', keys[1], 'epoch')
  if there and tonumber(there) >= tonumber(args[1]) then
    return 0
  end
  redis.call('UNLINK', keys[2], keys[3], keys[4])
  drafts[keys[1]] = permission(args)
  redis.call('HSET', keys[2], 'permission', permission(args), 'settled', 0)
  return 1
end

-- keys: state, draft, draft records, draft buyers. args: epoch, token, then id, buyer, quantity of each.
local function rebuild_load(keys, args)
  if not permitted(keys[1], keys[2], args) then
    return 0
  end
  local moment, settled = now(), 0
  for i = 3, #args, 3 do
    local id, buyer, quantity = args[i], args[i + 1], tonumber(args[i + 2])
    -- Tickets of the lost state are refused by their epoch: nothing needs remembering after release.
    if redis.call('HSETNX', keys[3], id, encode('S', quantity, moment, moment, buyer)) == 1 then
      redis.call('HINCRBY', keys[4], buyer, quantity)
      settled = settled + quantity
    end
  end
  redis.call('HINCRBY', keys[2], 'settled', settled)
  return 1
end

-- keys: state, records, buyers, ages, graves, draft, draft records, draft buyers.
-- args: epoch, token, total, total version, then what configure takes.
local function rebuild_finish(keys, args)
  if not permitted(keys[1], keys[6], args) then
    return 0
  end
  local settled = redis.call('HGET', keys[6], 'settled')
  redis.call('UNLINK', keys[1], keys[2], keys[3], keys[4], keys[5], keys[6])
  if redis.call('EXISTS', keys[7]) == 1 then
    redis.call('RENAME', keys[7], keys[2])
  end
  if redis.call('EXISTS', keys[8]) == 1 then
    redis.call('RENAME', keys[8], keys[3])
  end
  redis.call('HSET', keys[1], 'epoch', args[1], 'free', math.max(args[3] - settled, 0), 'reserved', 0,
    'reservations', 0, 'changes', 1, 'phase', args[8], 'opens_at', args[6], 'ends_at', args[7], 'limit', args[9],
    'settled', settled, 'total', args[3], 'total_version', args[4], 'version', args[5])
  drafts[keys[1]] = nil
  armed[keys[1]] = args[1]
  return 1
end

local function register(name, callback, ...)
  redis.register_function({ function_name = 'seckill_' .. name, callback = callback, flags = { ... } })
end

register('reserve', reserve)
register('peek', peek, 'no-writes')
register('view', view, 'no-writes')
register('snapshot', snapshot, 'no-writes')
-- What takes no memory goes on when there is none left: units must come back.
register('settle', settle, 'allow-oom')
register('release', release, 'allow-oom')
register('configure', configure, 'allow-oom')
register('set_total', set_total, 'allow-oom')
register('stale', stale, 'allow-oom')
register('rebuild_begin', rebuild_begin)
register('rebuild_load', rebuild_load)
register('rebuild_finish', rebuild_finish)
register('version', function() return VERSION end, 'no-writes')
