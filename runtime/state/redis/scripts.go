package redis

import client "github.com/redis/go-redis/v9"

// transaction carries out operations, all or none: it first goes through all of
// them with what each would leave behind, and writes only if every condition
// holds. Items are Dapr's: a hash with data and version.
//
// KEYS are the operations' keys. ARGV has four words for each: "set" or "del";
// the version that must be there, "" for none at all and "*" for whatever is;
// the value; how many milliseconds it lives, 0 for ever.
//
// It returns nothing, or the number of the operation whose condition does not
// hold and the version that is there, "" for none.
var transaction = client.NewScript(`
local have = {}
local function version(key)
  if have[key] ~= nil then return have[key] end
  local kind = redis.call('TYPE', key).ok
  if kind == 'none' then return '' end
  if kind ~= 'hash' then return '0' end
  return redis.call('HGET', key, 'version') or '0'
end
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 4
  local now, want = version(key), ARGV[at + 2]
  if want ~= '*' and want ~= now then return {i, now} end
  if ARGV[at + 1] == 'set' then
    have[key] = string.format('%.0f', (tonumber(now) or 0) + 1)
  else
    have[key] = ''
  end
end
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 4
  if ARGV[at + 1] == 'set' then
    local kind = redis.call('TYPE', key).ok
    if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', key) end
    redis.call('HSET', key, 'data', ARGV[at + 3])
    redis.call('HINCRBY', key, 'version', 1)
    if ARGV[at + 4] == '0' then
      redis.call('PERSIST', key)
    else
      redis.call('PEXPIRE', key, ARGV[at + 4])
    end
  else
    redis.call('DEL', key)
  end
end
return false
`)

// The words of transaction's arguments.
const (
	wordSet    = "set"
	wordDelete = "del"
	whatever   = "*"
)
