-- Interpreter work: tables, closures, strings, metatables, coroutines, floating point.
local seed = 12345
local function number()
  seed = (seed * 1103515245 + 12345) & 0x7fffffff
  return seed >> 8
end

local count = {}
for _ = 1, 150000 do
  local key = "w" .. number() % 700
  count[key] = (count[key] or 0) + 1
end
local keys = {}
for key in pairs(count) do keys[#keys + 1] = key end
table.sort(keys, function(a, b)
  if count[a] ~= count[b] then return count[a] > count[b] end
  return a < b
end)
for i = 1, 5 do print(keys[i], count[keys[i]]) end

local Point = {}
Point.__index = Point
Point.__add = function(a, b) return setmetatable({ x = a.x + b.x, y = a.y + b.y }, Point) end
local p = setmetatable({ x = 0, y = 0 }, Point)
local step = setmetatable({ x = 1, y = 0.5 }, Point)
for _ = 1, 150000 do p = p + step end
print(p.x, p.y)

local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
print(fib(24))

local generate = coroutine.wrap(function() for i = 1, 40000 do coroutine.yield(i * 3 % 7) end end)
local sum = 0
for _ = 1, 40000 do sum = sum + generate() end
print(sum)

local parts = {}
for i = 1, 20000 do parts[#parts + 1] = string.format("%05d", i * 7919 % 99991) end
print(#table.concat(parts), (table.concat(parts):gsub("12", "")):len())
