-- Builds the sandbox that scripts run in; runs once for each Lua state, before any script.
--
-- Stock Lua 5.1 has no read-only tables. What must not change is therefore handed out as a proxy: an empty table whose
-- metatable reads from the real one and refuses writes. `shadow` knows the real table behind each proxy, so that `pairs`,
-- `next` and `rawget` see what a script expects to see. Reading through a proxy is one more table access in the
-- interpreter, without a call.
--
-- Errors that come from the server's own functions are opaque values (`native.describe` turns one into what Redis would
-- have raised): every place where a script can catch an error unwraps them.

local native = ...
local original = getfenv(1)
local raw_pcall, raw_xpcall, raw_error, raw_next = pcall, xpcall, error, next
local raw_rawget, raw_rawset, raw_setmetatable, raw_getmetatable = rawget, rawset, setmetatable, getmetatable
local raw_load, raw_loadstring, raw_type, raw_pairs = load, loadstring, type, pairs
local raw_resume, byte, concat = coroutine.resume, string.byte, table.concat
local describe, refuse_write, refuse_access = native.describe, native.refuse_write, native.refuse_access

local shadow = {}

local function protect(real)
  local proxy = {}
  shadow[proxy] = real
  return raw_setmetatable(proxy, { __index = real, __newindex = refuse_write })
end

-- Errors ------------------------------------------------------------------------------------------------------------

local function caught(succeeded, failure, ...)
  if succeeded then
    return true, failure, ...
  end
  failure = describe(failure)
  if raw_type(failure) == 'table' then
    local text = failure.err
    if raw_type(text) == 'string' or raw_type(text) == 'number' then
      return false, text
    end
  end
  return false, failure
end

local function pcall(...)
  return caught(raw_pcall(...))
end

local function xpcall(body, handler)
  return raw_xpcall(body, function(failure) return handler(describe(failure)) end)
end

local function resumed(succeeded, failure, ...)
  if succeeded then
    return true, failure, ...
  end
  return false, describe(failure)
end

local function resume(...)
  return resumed(raw_resume(...))
end

-- Functions that would reach through a proxy --------------------------------------------------------------------------

local globals

local function next(table, key)
  return raw_next(shadow[table] or table, key)
end

local function pairs(table)
  if shadow[table] then
    return next, table, nil
  end
  return raw_pairs(table)
end

local function rawget(table, key)
  return raw_rawget(shadow[table] or table, key)
end

local function rawset(table, key, value)
  if shadow[table] then
    refuse_write()
  end
  return raw_rawset(table, key, value)
end

local function setmetatable(table, metatable)
  if shadow[table] then
    refuse_write()
  end
  return raw_setmetatable(table, metatable)
end

local guard_of_globals = protect({ __index = refuse_access })

local function getmetatable(value)
  if value == globals then
    return guard_of_globals
  end
  if raw_type(value) == 'table' and shadow[value] then
    return nil
  end
  return raw_getmetatable(value)
end

-- Compiled code could do anything: only source text is loaded.
local BYTECODE_MARK = 27

local function loadstring(text, name)
  if raw_type(text) == 'string' and byte(text) == BYTECODE_MARK then
    return nil, 'bytecode is not allowed'
  end
  return raw_loadstring(text, name)
end

local function load(reader, name)
  local pieces = {}
  while true do
    local piece = reader()
    if piece == nil or piece == '' then
      break
    end
    if raw_type(piece) ~= 'string' then
      return nil, 'reader function must return a string'
    end
    pieces[#pieces + 1] = piece
  end
  return loadstring(concat(pieces), name or '=(load)')
end

-- The global table ----------------------------------------------------------------------------------------------------

local function copy(table, changes)
  local result = {}
  for key, value in raw_pairs(table) do
    result[key] = value
  end
  for key, value in raw_pairs(changes) do
    result[key] = value
  end
  return result
end

local real = {
  assert = assert, collectgarbage = collectgarbage, error = raw_error, gcinfo = gcinfo, getfenv = getfenv,
  getmetatable = getmetatable, ipairs = ipairs, load = load, loadstring = loadstring,
  next = next, pairs = pairs, pcall = pcall, rawequal = rawequal, rawget = rawget, rawset = rawset,
  select = select, setfenv = setfenv, setmetatable = setmetatable, tonumber = tonumber, tostring = tostring,
  type = raw_type, unpack = unpack, xpcall = xpcall, _VERSION = _VERSION,
  coroutine = protect(copy(coroutine, { resume = resume })),
  math = protect(copy(math, { random = native.random, randomseed = native.randomseed })),
  os = protect({ clock = os.clock }),
  string = protect(copy(string, {})),
  table = protect(copy(table, {})),
}
for name, functions in raw_pairs(native.libraries) do
  real[name] = protect(functions)
end

globals = protect(real)
real._G = globals
raw_setmetatable(real, { __index = refuse_access })
raw_getmetatable('').__metatable = protect({ __index = real.string })

-- What FUNCTION LOAD runs in: nothing but a small `redis`.
local load_redis = protect(raw_setmetatable(native.load_redis, { __index = refuse_access }))
local load_server = protect(raw_setmetatable(native.load_server, { __index = refuse_access }))
local load_globals = raw_setmetatable({ redis = load_redis, server = load_server }, { __index = refuse_access })
local metatable_of_globals = raw_getmetatable(globals)

local function set_loading(is_loading)
  metatable_of_globals.__index = is_loading and load_globals or real
end

-- Running -------------------------------------------------------------------------------------------------------------

local body, first, second
local handler = native.handler

local function invoke()
  return body(first, second)
end

local function run(chunk, keys, arguments)
  body, first, second = chunk, keys, arguments
  return raw_xpcall(invoke, handler)
end

-- Functions of the base library keep the table that was global when they were made: nothing is to be found there.
for key in raw_pairs(original) do
  original[key] = nil
end

return globals, real, run, set_loading
