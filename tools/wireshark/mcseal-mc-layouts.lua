-- SPDX-License-Identifier: Apache-2.0
--
-- What stands behind the command in requests and behind the end code in answers: a table says for
-- each command how its data is laid out, with one small function for each layout. They add what
-- they read to the tree, and the devices of a request to what is known of it for its answer.
--
-- Sources: MELSEC Communication Protocol Reference Manual (limits: appendix 5); FX3U-ENET-ADP
-- User's Manual (1E).

local known = require("mcseal-mc-fields")
local reader = require("mcseal-mc-reader")

local fields, faults = known.fields, known.faults

-- --- points -------------------------------------------------------------------------------------

-- How many points of the device itself one unit of a request is; 0: it has no such access. Word
-- access to a bit device takes 16 of its points.
local function own_points(device, unit)
  if device.kind == "bit" then
    if unit ~= "bit" and device.timer_contact then
      return 0
    end
    return unit == "bit" and 1 or unit == "word" and 16 or 32
  end
  if unit == "bit" then
    return 0
  end
  return unit == "dword" and device.kind == "word" and 2 or 1
end

local function point_text(entry, i)
  local number = entry.number + i * entry.step
  return entry.name .. (entry.base == 16 and "%X" or "%.0f"):format(number)
end

local function entry_text(entry)
  return point_text(entry, 0) .. (entry.count > 1 and (" x %d"):format(entry.count) or "")
end

-- "D100 x 2, M100, W1F, ..."
local function entries_text(entries)
  local texts = {}
  for i = 1, math.min(#entries, 3) do
    texts[i] = entry_text(entries[i])
  end
  if #entries > 3 then
    texts[4] = "..."
  end
  return table.concat(texts, ", ")
end

-- What a frame is dissected with. `request`: what is known of the request, of this frame or of the
-- one that is answered.
local Frame = {}
Frame.__index = Frame

-- Without a text of its own it has that of the fault's name.
local function add_fault(item, name, text)
  if text then
    item:add_proto_expert_info(faults[name], text)
  else
    item:add_proto_expert_info(faults[name])
  end
end

function Frame:fault(name, text, item)
  add_fault(item or self.tree, name, text)
end

-- A number of `size` bytes with its field; the value and the item.
function Frame:add(field, size, tree)
  local value, range = self.reader:number(size)
  if not value then
    return nil
  end
  return value, (tree or self.tree):add(field, range, value)
end

function Frame:check_entry(entry, device, numbers, item)
  if not device then
    self:fault("shape", "Unknown device code", item)
  elseif device.extended_only then
    self:fault("shape", "This device needs an extension specification", item)
  elseif entry.step == 0 then
    self:fault("shape", "The device cannot be accessed in these units", item)
  elseif entry.number + entry.count * entry.step > numbers then
    self:fault("count", "Beyond the last device number", item)
  end
end

-- A device range was read: shown, and kept for the answer. Returns it, and its item for values.
function Frame:found(spec, unit, count, count_range)
  local device, request = spec.device, self.request
  local entry = { name = spec.name, number = spec.number, unit = unit, count = count,
                  base = device and device.base or 16,
                  step = device and own_points(device, unit) or 1 }
  local item = self.tree:add(spec.range, entry_text(entry))
  item:add(fields.device, spec.range, (entry.name:gsub(" $", "")))
  local number = item:add(fields.device_number, spec.range, entry.number)
  if entry.base == 16 then
    number:append_text((" (%X hexadecimal)"):format(entry.number))
  end
  local last = entry.number + math.max(count * entry.step, 1) - 1
  item:add(fields.device_last, math.min(last, 2 ^ 32 - 1)):set_generated()
  if count_range then
    item:add(fields.points, count_range, count)
  else
    item:add(fields.points, count):set_generated()
  end
  self:check_entry(entry, device, reader.forms[request.form].numbers, item)
  -- Special relays and registers act on the CPU itself: mcseal calls writing them control.
  if request.write and (spec.name == "SM" or spec.name == "SD") then
    request.class = "control"
  end
  request.entries[#request.entries + 1] = entry
  return entry, item
end

function Frame:value(entry, i, range, value, tree)
  local item = tree:add(fields.value, range, value)
  if entry.unit == "bit" then
    item:set_text(("%s: %d"):format(point_text(entry, i), value))
  else
    item:set_text(("%s: %d (0x%0" .. (entry.unit == "dword" and 8 or 4) .. "X)")
      :format(point_text(entry, i), value, value))
  end
end

-- One point of bits in a row, the k-th of them, counted from 0: two points in a byte, the first in
-- its high half; in ASCII code one character each.
function Frame:bit(entry, i, k, tree)
  local ascii = self.reader.ascii
  if ascii or k % 2 == 0 then
    self.bit_range = self.reader:raw(1)
  end
  if not self.bit_range then
    return
  end
  local byte = self.bit_range:uint()
  if ascii then
    byte = byte == 0x31 and 0x11 or 0
  end
  self:value(entry, i, self.bit_range, k % 2 == 0 and math.floor(byte / 16) % 2 or byte % 2, tree)
end

-- All points of some entries in one row; in 1E ASCII code one character more may fill up the last
-- byte.
function Frame:bits(entries, tree)
  local k = 0
  for _, entry in ipairs(entries) do
    for i = 0, entry.count - 1 do
      self:bit(entry, i, k, tree)
      if self.reader.fault then
        return
      end
      k = k + 1
    end
  end
  if self.reader.ascii and self.request.family == "1E" and k % 2 == 1 then
    self.reader:raw(1)
  end
end

-- The values of all points of an entry.
function Frame:values(entry, tree)
  if entry.unit == "bit" then
    self:bits({ entry }, tree)
    return
  end
  for i = 0, entry.count - 1 do
    local value, range = self.reader:number(entry.unit == "dword" and 4 or 2)
    if not value then
      return
    end
    self:value(entry, i, range, value, tree)
  end
end

-- Whatever is left of the frame.
function Frame:rest(tree)
  local range = self.reader:raw(self.reader:left())
  if range then
    (tree or self.tree):add(fields.data, range)
  end
end

function Frame:limit(count, most, item)
  if count == 0 or count > most then
    self:fault("count", ("%d: must be 1 to %d"):format(count, most), item)
  end
end

-- --- requests -----------------------------------------------------------------------------------

-- One small function for each layout of data; each stops where the reader has a fault.

local layouts = {}

-- No data at all.
function layouts.none() end

function layouts.batch(frame)
  local request, input = frame.request, frame.reader
  local is_1e = request.family == "1E"
  local spec = input:device(request.form)
  local count, range = input:number(is_1e and 1 or 2)
  local zero = is_1e and input:number(1) or 0
  if not spec or not count or not zero then
    return
  end
  if is_1e and count == 0 then
    count = 256 -- one byte cannot say it otherwise
  end
  local entry, item = frame:found(spec, request.bits and "bit" or "word", count, range)
  if zero ~= 0 then
    frame:fault("shape", "The byte behind the number of points must be 00", item)
  end
  if not is_1e then
    frame:limit(count, request.bits and (input.ascii and 3584 or 7168) or 960, item)
  end
  if request.write then
    frame:values(entry, item)
  end
end

-- `count` entries of one point each; a write has the value behind each, of `state` bytes for bits.
function Frame:entries(count, unit, state)
  for _ = 1, count do
    local spec = self.reader:device(self.request.form)
    if not spec then
      return
    end
    local entry, item = self:found(spec, unit, 1)
    if self.request.write and unit == "bit" then
      local value, range = self.reader:number(state)
      if value then
        self:value(entry, 0, range, value, item)
      end
    elseif self.request.write then
      self:values(entry, item)
    end
  end
end

function layouts.random_bits(frame)
  local wide = frame.request.form == "long"
  local count, item = frame:add(fields.count, 1)
  if count then
    frame:limit(count, wide and 94 or 188, item)
    frame:entries(count, "bit", wide and 2 or 1)
  end
end

function layouts.random_1e(frame)
  local count, item = frame:add(fields.count, 1)
  local zero = frame.reader:number(1)
  if not zero then
    return
  end
  if zero ~= 0 then
    frame:fault("shape", "The byte behind the count must be 00", item)
  end
  frame:limit(count, 255, item)
  frame:entries(count, frame.request.bits and "bit" or "word", 1)
end

function layouts.random(frame)
  local request = frame.request
  if request.family == "1E" then
    return layouts.random_1e(frame)
  elseif request.bits then
    return layouts.random_bits(frame)
  end
  local words, item = frame:add(fields.count, 1)
  local dwords, dwords_item = frame:add(fields.count, 1)
  if not dwords then
    return
  end
  item:append_text(" (words)")
  dwords_item:append_text(" (double words)")
  -- Appendix 5: reads are limited by points, writes by the bytes these take.
  local cost = request.write and 12 * words + 14 * dwords or words + dwords
  frame:limit(cost, (request.write and 1920 or 192) / (request.form == "long" and 2 or 1), item)
  frame:entries(words, "word")
  frame:entries(dwords, "dword")
end

function layouts.block(frame)
  local request, input, sum = frame.request, frame.reader, 0
  local words, item = frame:add(fields.count, 1)
  local bits, bits_item = frame:add(fields.count, 1)
  if not bits then
    return
  end
  item:append_text(" (word blocks)")
  bits_item:append_text(" (bit blocks)")
  frame:limit(words + bits, request.form == "long" and 60 or 120, item)
  for i = 1, words + bits do
    local spec = input:device(request.form)
    local count, range = input:number(2)
    if not spec or not count then
      return
    end
    local entry, entry_item = frame:found(spec, "word", count, range)
    sum = sum + count
    frame:limit(count == 0 and 0 or sum, 960, entry_item)
    if i > words and spec.device and spec.device.kind ~= "bit" then
      frame:fault("shape", "A bit block of a device that has no bits", entry_item)
    end
    if request.write then
      frame:values(entry, entry_item)
    end
  end
end

-- Buffer memory of the own module, in words, or of an intelligent function module, in bytes.
local function buffer(frame, module)
  frame:add(fields.address, 4)
  local count, item = frame:add(fields.count, 2)
  if module then
    frame:add(fields.module, 2)
  end
  if count then
    frame:limit(count, module and 1920 or 480, item)
  end
  if frame.request.write then
    frame:rest()
  end
end

function layouts.buffer(frame)
  buffer(frame, false)
end

function layouts.module(frame)
  buffer(frame, true)
end

-- The characters are digits in both codes: they are not doubled in ASCII.
function layouts.loopback(frame)
  local is_1e = frame.request.family == "1E"
  local count, item = frame:add(fields.count, is_1e and 1 or 2)
  if not count then
    return
  end
  frame:limit(count, is_1e and 255 or 960, item)
  local range = frame.reader:raw(is_1e and frame.reader.ascii and 2 * count or count)
  if range then
    frame.tree:add(fields.data, range)
  end
end

function layouts.run(frame)
  frame:add(fields.mode, 2)
  frame:add(fields.clear, 1)
  frame.reader:number(1)
end

function layouts.mode(frame)
  frame:add(fields.mode, 2)
end

-- The password is text in both codes. No item covers its bytes: exports of Wireshark (PDML) hold
-- the bytes of every item.
function layouts.password(frame)
  local size = frame.reader:left()
  frame.tree:add(fields.password, ("hidden, %d bytes with its length"):format(size)):set_generated()
  frame.reader.at = frame.reader.stop
end

function layouts.opaque(frame)
  -- An unknown command has said so itself.
  if frame.reader:left() > 0 and frame.request.known then
    frame:fault("undecoded", "The data of this command is not looked into")
  end
  frame:rest()
end

-- --- answers ------------------------------------------------------------------------------------

local answers = {}

function answers.none() end

function answers.values(frame)
  local entries = frame.request.entries
  -- The bits of a 1E monitor stand in one row, whatever devices they are of.
  if entries[1] and entries[1].unit == "bit" then
    frame:bits(entries, frame.tree)
    return
  end
  for _, entry in ipairs(entries) do
    frame:values(entry, frame.tree)
  end
end

function answers.model(frame)
  local name = frame.reader:raw(16)
  if name then
    frame.tree:add(fields.model, name, (name:raw():gsub("[^%g ]", "?"):gsub(" +$", "")))
  end
  frame:add(fields.model_code, 2)
end

function answers.model_1e(frame)
  local value, range = frame.reader:number(1)
  if value then
    frame.tree:add(fields.model_code, range, value)
  end
  frame.reader:number(1)
end

answers.loopback = layouts.loopback

-- Buffer memory: words or bytes that nothing describes.
function answers.rest(frame)
  frame:rest()
end

-- --- commands -----------------------------------------------------------------------------------

-- Layouts of request and answer, and the subcommands that exist (by their last digit). What is not
-- here is not looked into.
local function layout(request, answer, subcommands, write)
  return { request = layouts[request], answer = answers[answer], subcommands = subcommands,
           write = write }
end

local LAYOUTS = {
  ["3E"] = {
    [0x0101] = layout("none", "model", "[0]"),
    [0x0401] = layout("batch", "values", "[0123]"),
    [0x0403] = layout("random", "values", "[02]"),
    [0x0406] = layout("block", "values", "[02]"),
    [0x0601] = layout("module", "rest", "[0]"),
    [0x0613] = layout("buffer", "rest", "[0]"),
    [0x0619] = layout("loopback", "loopback", "[0]"),
    [0x0801] = layout("random", "none", "[02]"),
    [0x0802] = layout("none", "values", "[0]"),
    [0x1001] = layout("run", "none", "[0]"),
    [0x1002] = layout("mode", "none", "[0]"),
    [0x1003] = layout("mode", "none", "[0]"),
    [0x1005] = layout("mode", "none", "[0]"),
    [0x1006] = layout("mode", "none", "[0]"),
    [0x1401] = layout("batch", "none", "[0123]", true),
    [0x1402] = layout("random", "none", "[0123]", true),
    [0x1406] = layout("block", "none", "[02]", true),
    [0x1601] = layout("module", "none", "[0]", true),
    [0x1613] = layout("buffer", "none", "[0]", true),
    [0x1617] = layout("none", "none", "[01]"),
    [0x1619] = layout("none", "none", "[01]"),
    [0x1630] = layout("password", "none", "[0]"),
    [0x1631] = layout("password", "none", "[0]"),
  },
  ["1E"] = {
    [0x00] = layout("batch", "values"),
    [0x01] = layout("batch", "values"),
    [0x02] = layout("batch", "none", nil, true),
    [0x03] = layout("batch", "none", nil, true),
    [0x04] = layout("random", "none", nil, true),
    [0x05] = layout("random", "none", nil, true),
    [0x06] = layout("random", "none"),
    [0x07] = layout("random", "none"),
    [0x08] = layout("none", "values"),
    [0x09] = layout("none", "values"),
    [0x13] = layout("none", "none"),
    [0x14] = layout("none", "none"),
    [0x15] = layout("none", "model_1e"),
    [0x16] = layout("loopback", "loopback"),
  },
}

local OPAQUE = { request = layouts.opaque, answer = answers.rest }

local function layout_of(family, command)
  return LAYOUTS[reader.key_of(family)][command] or OPAQUE
end

-- Entries of 06, 07 and 0801 answer 08, 09 and 0802, until the next registration.
local REGISTRATIONS = { ["1E"] = { [0x06] = 0x08, [0x07] = 0x09 }, ["3E"] = { [0x0801] = 0x0802 } }

-- The command that reads what the request registers; nil: it registers nothing.
local function monitor_of(request)
  return REGISTRATIONS[reader.key_of(request.family)][request.command]
end

return {
  Frame = Frame, add_fault = add_fault, entries_text = entries_text,
  layout_of = layout_of, monitor_of = monitor_of,
  password = layouts.password, rest = answers.rest, values = answers.values,
}
