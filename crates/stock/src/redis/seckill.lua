#!lua name=seckill
-- The stock store as a function library (Redis 7 or Valkey). Every function is atomic for its sale.
--
-- A sale's keys share the hash tag {sale}, so a cluster keeps them together; each function is given all
-- the keys it touches. Times are milliseconds by this server's clock. Reserve is what a sale lives on: it
-- costs six commands, so counts and terms are one packed string, and records and buyers one hash.
--
--   state    string   epoch, change counter, counts and terms
--   book     hash     reservation -> record, and buyer -> live units
--   ages     zset     reservations not settled, by when they were made
--   tombstones   zset     released reservations, by when their ticket expires
--   draft, draft book    a state that is being rebuilt

-- Rises with every change of this file. A newer library must serve the callers of an older one.
local VERSION = 6

-- What every function answers for a sale whose state is not in force.
local UNKNOWN = -1

-- Tombstones cleared away by one call at most.
local TOMBSTONES_PER_RELEASE = 16
local TOMBSTONES_PER_SWEEP = 1000

-- The library's own memory. It is neither persisted nor replicated: after a restart, with an old snapshot
-- restored, on a promoted replica or in a freshly loaded library it is empty, and whatever the keys then
-- say is not the truth until a rebuild has written it.
local armed = {} -- key of a sale's state -> the epoch put in force by rebuild_finish
local drafts = {} -- key of a sale's state -> the permission of the rebuild under way

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- The packed state. Units take 4 bytes, versions and counters 6. Opening and end are there twice: as
-- doubles to compare with, and exactly, as text, in what follows (`written`), for whoever asks.
local STATE = '>I6I6I4I4I4I4I4I6I6I4ddc1'

local function unpack_state(packed)
  local epoch, changes, free, reserved, reservations, settled, total, total_version, version, limit, opens_at, ends_at,
    phase, rest = struct.unpack(STATE, packed)
  -- All fields at once: a table that grows field by field costs twice as much.
  return {
    epoch = epoch, changes = changes, free = free, reserved = reserved, reservations = reservations,
    settled = settled, total = total, total_version = total_version, version = version, limit = limit,
    opens_at = opens_at, ends_at = ends_at, phase = phase, written = string.sub(packed, rest),
  }
end

local function store(key, s)
  local packed = struct.pack(STATE, s.epoch, s.changes, s.free, s.reserved, s.reservations, s.settled, s.total,
    s.total_version, s.version, s.limit, s.opens_at, s.ends_at, s.phase)
  redis.call('SET', key, packed .. s.written)
end

-- The sale's state; nil if it is not in force here: its key is gone, or this memory was never armed, or
-- was armed for another epoch (it was a primary before, and another has written since).
local function in_force(key)
  local packed = redis.call('GET', key)
  local s = packed and unpack_state(packed)
  if not s or s.epoch ~= armed[key] then
    -- Once lost it stays lost, even if the key comes back.
    armed[key] = nil
    return nil
  end
  return s
end

-- A buyer's place in the book. A reservation's starts with a zero byte, then come the order id's 16, and
-- one more if it is late.
local ID_LEN = 17

local function buyer_field(buyer)
  return '@' .. buyer
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
local function clear_tombstones(book, tombstones, moment, most)
  local ids = redis.call('ZRANGEBYSCORE', tombstones, '-inf', moment, 'LIMIT', 0, most)
  if #ids == 0 then
    return
  end
  local found = redis.call('HMGET', book, unpack(ids))
  local gone = {}
  for i, id in ipairs(ids) do
    if found[i] and string.sub(found[i], 1, 1) == 'X' then
      gone[#gone + 1] = id
    end
  end
  if #gone > 0 then
    redis.call('HDEL', book, unpack(gone))
  end
  redis.call('ZREM', tombstones, unpack(ids))
end

-- Answers of reserve; 8 and 9 come with a number.
local RESERVED, ALREADY, SETTLED, RELEASED, MISMATCH, EXPIRED, STALE, LIMIT = 0, 1, 2, 3, 4, 5, 6, 7
local SOLD_OUT, NOT_ENOUGH, NOT_OPEN, PAUSED, ENDED, OVERDUE = 8, 9, 10, 11, 12, 13
local KNOWN = { R = ALREADY, S = SETTLED, X = RELEASED }

-- What a known id is answered; nil if it is not known, or its tombstone's time is over. For what is reserved under a
-- ticket that has run out nothing may be published: its fence may be in the lane already.
local function known_as(id, record, wanted, moment)
  if not record then
    return nil
  end
  local letter, quantity, _, expires_at = decode(record)
  if letter == 'X' and expires_at <= moment then
    return nil
  end
  if letter == 'R' and quantity == wanted and expires_at <= moment and #id == ID_LEN then
    return OVERDUE
  end
  return quantity == wanted and KNOWN[letter] or MISMATCH
end

-- Why the sale does not sell; nil if it does. Phases are a (active), p (paused), e (ended).
local function closed(s, moment)
  if s.phase == 'e' or moment >= s.ends_at then
    return ENDED
  elseif moment < s.opens_at then
    return NOT_OPEN
  elseif s.phase == 'p' then
    return PAUSED
  end
  return nil
end

-- keys: state, book, ages. args: id, buyer, quantity, epoch, expires_at.
local function reserve(keys, args)
  local s = in_force(keys[1])
  if not s then
    return UNKNOWN
  end
  local moment, id, quantity, expires_at = now(), args[1], tonumber(args[3]), tonumber(args[5])
  local field = buyer_field(args[2])
  local found = redis.call('HMGET', keys[2], id, field)
  local known = known_as(id, found[1], quantity, moment)
  if known then
    return known
  end
  if moment >= expires_at then
    return EXPIRED
  end
  if tonumber(args[4]) ~= s.epoch then
    return STALE
  end
  -- Money that came late may take a unit whenever there is one.
  local refusal = #id == ID_LEN and closed(s, moment)
  if refusal then
    return refusal
  end
  local held = tonumber(found[2] or 0)
  if held + quantity > s.limit then
    return LIMIT
  end
  if s.free == 0 then
    return { SOLD_OUT, s.changes }
  end
  if quantity > s.free then
    return { NOT_ENOUGH, s.free }
  end
  redis.call('HSET', keys[2], id, encode('R', quantity, moment, expires_at, args[2]), field, held + quantity)
  redis.call('ZADD', keys[3], moment, id)
  s.free, s.reserved, s.reservations = s.free - quantity, s.reserved + quantity, s.reservations + 1
  if s.free == 0 then
    s.changes = s.changes + 1
  end
  store(keys[1], s)
  return RESERVED
end

-- keys: state, book. args: id. Answers 0 (nothing), 1 (released), or what is held.
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

-- keys: state. Answers the moment, the state's outside, and the other counts.
local function view(keys)
  local s = in_force(keys[1])
  if not s then
    return UNKNOWN
  end
  return { now(), s.epoch, s.changes, s.phase, s.written, s.free, s.reserved, s.reservations, s.settled, s.total,
    s.total_version }
end

-- keys: state, book, ages. args: ids.
local function settle(keys, args)
  local s = in_force(keys[1])
  if not s then
    return UNKNOWN
  end
  local found = redis.call('HMGET', keys[2], unpack(args))
  local ids, records, seen, units = {}, {}, {}, 0
  for i, id in ipairs(args) do
    local record = found[i]
    if record and string.sub(record, 1, 1) == 'R' and not seen[id] then
      local _, quantity = decode(record)
      units, seen[id] = units + quantity, true
      ids[#ids + 1] = id
      records[#records + 1] = id
      records[#records + 1] = 'S' .. string.sub(record, 2)
    end
  end
  if #ids == 0 then
    return 0
  end
  redis.call('HSET', keys[2], unpack(records))
  redis.call('ZREM', keys[3], unpack(ids))
  s.reserved, s.reservations, s.settled = s.reserved - units, s.reservations - #ids, s.settled + units
  store(keys[1], s)
  return 0
end

-- Turns a record that holds units into a tombstone, which is kept until its ticket expires.
local function make_tombstone(keys, id, record, moment)
  local letter, quantity, _, expires_at, buyer = decode(record)
  if expires_at > moment then
    redis.call('HSET', keys[2], id, 'X' .. string.sub(record, 2))
    redis.call('ZADD', keys[4], expires_at, id)
  else
    redis.call('HDEL', keys[2], id)
  end
  if redis.call('HINCRBY', keys[2], buyer_field(buyer), -quantity) <= 0 then
    redis.call('HDEL', keys[2], buyer_field(buyer))
  end
  if letter == 'R' then
    redis.call('ZREM', keys[3], id)
  end
  return letter, quantity
end

-- keys: state, book, ages, tombstones. args: id. Answers units, from zero, epoch, changes.
local function release(keys, args)
  local s = in_force(keys[1])
  if not s then
    return UNKNOWN
  end
  local moment, before, units = now(), s.free, 0
  local record = redis.call('HGET', keys[2], args[1])
  if record and string.sub(record, 1, 1) ~= 'X' then
    local letter
    letter, units = make_tombstone(keys, args[1], record, moment)
    if letter == 'R' then
      s.reserved, s.reservations = s.reserved - units, s.reservations - 1
    else
      s.settled = s.settled - units
    end
    -- Not free + units: a total that was lowered below what is held takes these first.
    s.free = math.max(s.total - s.reserved - s.settled, 0)
    s.changes = before == 0 and s.changes + 1 or s.changes
    store(keys[1], s)
  end
  clear_tombstones(keys[2], keys[4], moment, TOMBSTONES_PER_RELEASE)
  return { units, before == 0 and s.free > 0 and 1 or 0, s.epoch, s.changes }
end

-- Takes over what says how a sale sells, from the argument at `i` on.
local function set_terms(s, args, i)
  s.version, s.opens_at, s.ends_at = tonumber(args[i]), tonumber(args[i + 1]), tonumber(args[i + 2])
  s.phase, s.limit = args[i + 3], tonumber(args[i + 4])
  s.written = args[i + 1] .. ' ' .. args[i + 2]
end

-- keys: state. args: version, opens_at, ends_at, phase, limit. Answers epoch, changes.
local function configure(keys, args)
  local s = in_force(keys[1])
  if not s then
    return UNKNOWN
  end
  if tonumber(args[1]) > s.version then
    set_terms(s, args, 1)
    s.changes = s.changes + 1
    store(keys[1], s)
  end
  return { s.epoch, s.changes }
end

-- keys: state. args: total, version. Answers like release.
local function set_total(keys, args)
  local s = in_force(keys[1])
  if not s then
    return UNKNOWN
  end
  local before = s.free
  if tonumber(args[2]) > s.total_version then
    s.total, s.total_version = tonumber(args[1]), tonumber(args[2])
    s.free = math.max(s.total - s.reserved - s.settled, 0)
    s.changes = s.changes + 1
    store(keys[1], s)
  end
  return { math.max(s.free - before, 0), before == 0 and s.free > 0 and 1 or 0, s.epoch, s.changes }
end

-- keys: state, book, ages, tombstones. args: age_ms, limit. Answers id, buyer, quantity, reserved_at of each.
-- It is asked for regularly, so it also clears tombstones away.
local function stale(keys, args)
  if not in_force(keys[1]) then
    return UNKNOWN
  end
  local moment, found = now(), {}
  clear_tombstones(keys[2], keys[4], moment, TOMBSTONES_PER_SWEEP)
  local ids = redis.call('ZRANGEBYSCORE', keys[3], '-inf', moment - args[1], 'LIMIT', 0, args[2])
  for _, id in ipairs(ids) do
    local record = redis.call('HGET', keys[2], id)
    if not record then
      -- Somebody took the book away and left the rest: half a state is no state.
      armed[keys[1]] = nil
      return UNKNOWN
    end
    local _, quantity, reserved_at, _, buyer = decode(record)
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

-- keys: state, draft, draft book, book, ages, tombstones. args: epoch, token.
local function rebuild_begin(keys, args)
  -- Also over a state that is not in force, only a higher epoch may be written.
  local there, epoch = redis.call('GET', keys[1]), tonumber(args[1])
  if there and unpack_state(there).epoch >= epoch then
    return 0
  end
  local begun = drafts[keys[1]]
  local is_there = begun and redis.call('HGET', keys[2], 'permission') == begun
  if is_there and tonumber(string.match(begun, '^%d+')) > epoch then
    return 0
  end
  -- With what belongs to the old state, which serves nobody any more (older callers do not name it): there need be room
  -- for one of the two only.
  redis.call('UNLINK', unpack(keys, 2))
  -- Out of force from here on: the ledger rejects what is reserved in it once the barrier is reached.
  armed[keys[1]] = nil
  drafts[keys[1]] = permission(args)
  redis.call('HSET', keys[2], 'permission', permission(args), 'settled', 0)
  return 1
end

-- keys: state, draft, draft book. args: epoch, token, then id, buyer, quantity of each.
local function rebuild_load(keys, args)
  if not permitted(keys[1], keys[2], args) then
    return 0
  end
  local moment, settled = now(), 0
  for i = 3, #args, 3 do
    local id, buyer, quantity = args[i], args[i + 1], tonumber(args[i + 2])
    -- Tickets of the lost state are refused by their epoch: nothing needs remembering after release.
    if redis.call('HSETNX', keys[3], id, encode('S', quantity, moment, moment, buyer)) == 1 then
      redis.call('HINCRBY', keys[3], buyer_field(buyer), quantity)
      settled = settled + quantity
    end
  end
  redis.call('HINCRBY', keys[2], 'settled', settled)
  return 1
end

-- keys: state, book, ages, tombstones, draft, draft book.
-- args: epoch, token, total, total version, then what configure takes.
local function rebuild_finish(keys, args)
  if not permitted(keys[1], keys[5], args) then
    return 0
  end
  local s = { epoch = tonumber(args[1]), changes = 1, reserved = 0, reservations = 0 }
  s.total, s.total_version = tonumber(args[3]), tonumber(args[4])
  s.settled = tonumber(redis.call('HGET', keys[5], 'settled'))
  s.free = math.max(s.total - s.settled, 0)
  set_terms(s, args, 5)
  redis.call('UNLINK', keys[2], keys[3], keys[4], keys[5])
  if redis.call('EXISTS', keys[6]) == 1 then
    redis.call('RENAME', keys[6], keys[2])
  end
  store(keys[1], s)
  drafts[keys[1]] = nil
  armed[keys[1]] = s.epoch
  return 1
end

local function register(name, callback, ...)
  redis.register_function({ function_name = 'seckill_' .. name, callback = callback, flags = { ... } })
end

register('reserve', reserve)
register('peek', peek, 'no-writes')
register('view', view, 'no-writes')
-- What takes no memory goes on when there is none left: units must come back.
register('settle', settle, 'allow-oom')
register('release', release, 'allow-oom')
register('configure', configure, 'allow-oom')
register('set_total', set_total, 'allow-oom')
register('stale', stale, 'allow-oom')
-- And what is rebuilt is no more than the ledger holds.
register('rebuild_begin', rebuild_begin, 'allow-oom')
register('rebuild_load', rebuild_load, 'allow-oom')
register('rebuild_finish', rebuild_finish, 'allow-oom')
register('version', function() return VERSION end, 'no-writes')
