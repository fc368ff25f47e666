-- The ledger of credits: one call of one member, carried out at once. src/credits/ledger.rs makes the same decisions, and is the
-- explanation; tests hold one against the other.
--
-- KEYS: 1 members  2 totals  3 the caller's rows  4 the rows of the member to bury
-- ARGV: 1 operation  2 id  3 seq  4 acked  5 epoch, or -  6 settle_ms  7 known_ms  8 ttl_ms, then
--   x  9 leaving  10 list  11 names of interest, 16 characters each  12... asks: name cap held in_use urgent waiting want
--   r  9 address  10 next epoch  11 fellows that it knows: id, blank, address, newline  12... asks
--   b  9 whom  10 its seq, or -
--   l
-- Answer: status, id, seq, epoch, time in ms, settled, granted, totals, fellows
--
-- members: epoch, run, born, settled, entries; @id -> seq last entered knows leaving address; ?id -> address of an awaited one
-- totals:  epoch; name -> held in_use urgent waiting starved
-- rows:    epoch; name -> held in_use urgent waiting
--
-- What is read is checked before anything is written, and the first write is one that a full Redis refuses: so a call is carried out
-- as a whole or not at all.
local members, totals, rows = KEYS[1], KEYS[2], KEYS[3]
local op, id, seq, acked, epoch = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local settle_ms, known_ms, ttl_ms = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local CHUNK = 2000

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
-- another process has another memory: what it has may be older than what the last one said
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)') or ''

local head = redis.call('HMGET', members, 'epoch', 'run', 'born', 'settled', 'entries', '@' .. id)
local current, born, entries = head[1], tonumber(head[3] or ''), tonumber(head[5] or '')
local is_settled = head[4] == '1'

local function reply(status, granted, sums, fellows)
  local said = status == 'lost' and '' or current or ''
  return { status, id, ARGV[3], said, tostring(now), is_settled and '1' or '0', granted or '', sums or '', fellows or '' }
end

local function lost()
  redis.call('DEL', members, totals)
  return reply('lost')
end

if run == '' then return redis.error_reply('ERR INFO has no run_id') end
if not current or not string.match(current, '^' .. string.rep('%x', 16) .. '$') or head[2] ~= run or redis.call('HGET', totals, 'epoch') ~= current or not born or not entries then
  if op ~= 'r' or epoch ~= '-' then return reply('lost') end
  redis.call('DEL', members, totals)
  current, born, entries, is_settled = ARGV[10], now, 0, false
  redis.call('HSET', members, 'epoch', current, 'run', run, 'born', now, 'settled', '0', 'entries', 0)
  redis.call('HSET', totals, 'epoch', current)
  head[6] = false
elseif epoch ~= current then
  return reply('epoch')
end

local function entry(text)
  local s, last, entered, knows, leaving, address = string.match(text, '^(%d+) (%d+) (%d+) (%d+) ([01]) (%S*)$')
  if not s then return nil end
  return { seq = tonumber(s), last = tonumber(last), entered = tonumber(entered), knows = tonumber(knows), leaving = leaving, address = address }
end

local own = head[6] and entry(head[6])
if head[6] and not own then return lost() end
if own then
  if own.seq >= seq then return reply('late') end
  if own.seq < acked or redis.call('HGET', rows, 'epoch') ~= current then return lost() end
elseif op ~= 'r' then
  return reply('epoch')
end

local function fields(key, names)
  local values = {}
  for first = 1, #names, CHUNK do
    local part = redis.call('HMGET', key, unpack(names, first, math.min(first + CHUNK - 1, #names)))
    for i = 1, #part do values[first + i - 1] = part[i] end
  end
  return values
end

local function numbers(text, count)
  if not text then return { 0, 0, 0, 0, 0 } end
  local found = {}
  for number in string.gmatch(text, '%d+') do found[#found + 1] = tonumber(number) end
  return #found == count and found or nil
end

local function starved(row) return row[1] == 0 and row[2] + row[3] + row[4] > 0 and 1 or 0 end

-- the members and the awaited, as they are
local function all()
  local flat, found, awaits = redis.call('HGETALL', members), {}, false
  for i = 1, #flat, 2 do
    local kind, name = string.sub(flat[i], 1, 1), string.sub(flat[i], 2)
    if kind == '@' then
      found[name] = entry(flat[i + 1])
      if not found[name] then return nil end
    elseif kind == '?' then
      awaits = true
      found[name] = { address = flat[i + 1], leaving = '0' }
    end
  end
  return found, awaits
end

local function told(found)
  local lines = {}
  for name, one in pairs(found) do
    lines[#lines + 1] = name .. ' ' .. (one.seq or '-') .. ' ' .. one.leaving .. ' ' .. one.address
  end
  return table.concat(lines, '\n')
end

local found, awaits
if not is_settled or op == 'r' or (op == 'x' and (ARGV[10] == '1' or own.entered > 0)) then
  found, awaits = all()
  if not found then return lost() end
end

-- the state of settling, before and after what the call does
local function settle()
  if is_settled then return end
  if now < born then born = now end
  is_settled = not awaits and now - born >= settle_ms
  redis.call('HSET', members, 'born', born, 'settled', is_settled and '1' or '0')
end

local function write(key, flat)
  for first = 1, #flat, CHUNK do
    redis.call('HSET', key, unpack(flat, first, math.min(first + CHUNK - 1, #flat)))
  end
end

local function erase(key, names)
  for first = 1, #names, CHUNK do
    redis.call('HDEL', key, unpack(names, first, math.min(first + CHUNK - 1, #names)))
  end
end

-- new rows in the place of old ones, and the totals; names without a new row lose the old one
local function put(key, names, old, new, sums)
  local kept, kept_sums, gone, gone_sums = {}, {}, {}, {}
  for i = 1, #names do
    local was, is, sum = old[i], new[i], sums[i]
    sum[5] = sum[5] - starved(was) + starved(is)
    local rest, left = is[1] + is[2] + is[3] + is[4], sum[5]
    for n = 1, 4 do
      sum[n] = sum[n] - was[n] + is[n]
      left = left + sum[n]
    end
    if rest > 0 then
      kept[#kept + 1] = names[i]
      kept[#kept + 1] = string.format('%d %d %d %d', is[1], is[2], is[3], is[4])
    else
      gone[#gone + 1] = names[i]
    end
    if left > 0 then
      kept_sums[#kept_sums + 1] = names[i]
      kept_sums[#kept_sums + 1] = string.format('%d %d %d %d %d', sum[1], sum[2], sum[3], sum[4], sum[5])
    else
      gone_sums[#gone_sums + 1] = names[i]
    end
  end
  write(totals, kept_sums)
  write(key, kept)
  erase(totals, gone_sums)
  erase(key, gone)
end

-- the asks of a call, each with its old row and its total
local function asks()
  local names, list = {}, {}
  for i = 12, #ARGV do
    local name, cap, held, use, urgent, waiting, want =
      string.match(ARGV[i], '^(%x+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')
    if not name then return nil end
    names[#names + 1] = name
    list[#list + 1] = {
      cap = tonumber(cap), want = tonumber(want),
      row = { tonumber(held), tonumber(use), tonumber(urgent), tonumber(waiting) },
    }
  end
  return names, list
end

local function known(key, names)
  local old, sums = fields(key, names), fields(totals, names)
  for i = 1, #names do
    old[i], sums[i] = numbers(old[i], 4), numbers(sums[i], 5)
    if not old[i] or not sums[i] then return nil end
  end
  return old, sums
end

local NONE = { 0, 0, 0, 0 }

-- takes all rows of a member out; false: they are not what they should be
local function rows_of(key)
  local names = {}
  for _, name in ipairs(redis.call('HKEYS', key)) do
    if name ~= 'epoch' then names[#names + 1] = name end
  end
  local old, sums = known(key, names)
  return names, old, sums
end

local function touch(one)
  redis.call('HSET', members, '@' .. id,
    string.format('%d %d %d %d %s %s', one.seq, one.last, one.entered, one.knows, one.leaving, one.address))
end

if op == 'x' then
  local names, list = asks()
  if not names then return redis.error_reply('ERR unreadable ask') end
  local old, sums = known(rows, names)
  if not old then return lost() end
  for i, ask in ipairs(list) do
    if ask.row[1] > old[i][1] then return lost() end
  end
  own.seq, own.last, own.leaving = seq, now, ARGV[9]
  local was_settled = is_settled
  local may_claim = was_settled or (not awaits and now - math.min(born, now) >= settle_ms)
  if may_claim and own.entered > 0 then
    for other, one in pairs(found) do
      if other ~= id and one.knows < own.entered and now - one.last <= known_ms then may_claim = false end
    end
  end
  if may_claim then own.entered = 0 end
  if ARGV[10] == '1' then own.knows = entries end
  touch(own)
  settle()
  local granted, new = {}, {}
  for i, ask in ipairs(list) do
    local free = math.max(0, ask.cap - (sums[i][1] - old[i][1]) - ask.row[1])
    local more = may_claim and math.max(0, math.min(ask.want - ask.row[1], free)) or 0
    new[i] = { ask.row[1] + more, ask.row[2], ask.row[3], ask.row[4] }
    granted[i] = new[i][1]
  end
  put(rows, names, old, new, sums)
  local interest = {}
  for first = 1, #ARGV[11], 16 do interest[#interest + 1] = string.sub(ARGV[11], first, first + 15) end
  local texts = fields(totals, interest)
  for i = 1, #interest do texts[i] = texts[i] or '' end
  local fellows
  if ARGV[10] == '1' then
    found[id] = own
    fellows = told(found)
    for _, key in ipairs({ members, totals, rows }) do redis.call('PEXPIRE', key, ttl_ms) end
  end
  return reply('done', table.concat(granted, ' '), table.concat(texts, ','), fellows)
end

if op == 'r' then
  local names, list = asks()
  if not names then return redis.error_reply('ERR unreadable ask') end
  settle()
  local before, was, sums_before = {}, {}, {}
  if own then before, was, sums_before = rows_of(rows) end
  if not was then return lost() end
  local held = {}
  for i, name in ipairs(before) do held[name] = was[i][1] end
  for i, ask in ipairs(list) do
    if is_settled and ask.row[1] > math.max(ask.row[2], held[names[i]] or 0) then return reply('settled') end
  end
  entries = entries + 1
  touch({ seq = seq, last = now, entered = entries, knows = entries, leaving = '0', address = ARGV[9] })
  redis.call('HSET', members, 'entries', entries)
  redis.call('HDEL', members, '?' .. id)
  local none = {}
  for i = 1, #before do none[i] = NONE end
  put(rows, before, was, none, sums_before)
  redis.call('DEL', rows)
  redis.call('HSET', rows, 'epoch', current)
  local old, sums = known(rows, names)
  if not old then return lost() end
  local new, granted = {}, {}
  for i, ask in ipairs(list) do new[i], granted[i] = ask.row, ask.row[1] end
  put(rows, names, old, new, sums)
  if not is_settled then
    for other, address in string.gmatch(ARGV[11], '(%x+) (%S*)\n') do
      if other ~= id and redis.call('HEXISTS', members, '@' .. other) == 0 then
        redis.call('HSETNX', members, '?' .. other, address)
      end
    end
  end
  found, awaits = all()
  if not found then return lost() end
  settle()
  for _, key in ipairs({ members, totals, rows }) do redis.call('PEXPIRE', key, ttl_ms) end
  return reply('done', table.concat(granted, ' '), '', told(found))
end

if op == 'b' then
  local whom = ARGV[9]
  own.seq, own.last = seq, now
  if ARGV[10] == '-' then
    touch(own)
    settle()
    redis.call('HDEL', members, '?' .. whom)
  else
    local text = redis.call('HGET', members, '@' .. whom)
    local other = text and entry(text)
    if text and not other then return lost() end
    if other and other.seq == tonumber(ARGV[10]) then
      if redis.call('HGET', KEYS[4], 'epoch') ~= current then return lost() end
      local names, old, sums = rows_of(KEYS[4])
      if not old then return lost() end
      touch(own)
      settle()
      local none = {}
      for i = 1, #names do none[i] = NONE end
      put(KEYS[4], names, old, none, sums)
      redis.call('DEL', KEYS[4])
      redis.call('HDEL', members, '@' .. whom)
    else
      touch(own)
      settle()
    end
  end
  if not is_settled then
    found, awaits = all()
    if not found then return lost() end
    settle()
  end
  return reply('done')
end

if op == 'l' then
  local names, old, sums = rows_of(rows)
  if not old then return lost() end
  touch(own)
  settle()
  local none = {}
  for i = 1, #names do none[i] = NONE end
  put(rows, names, old, none, sums)
  redis.call('DEL', rows)
  redis.call('HDEL', members, '@' .. id)
  return reply('done')
end

return redis.error_reply('ERR unknown operation')
