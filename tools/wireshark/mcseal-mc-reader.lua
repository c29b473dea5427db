-- SPDX-License-Identifier: Apache-2.0
--
-- Numbers and devices as MC frames carry them, in both codes.

local tables = require("mcseal-mc-tables")

-- The key of a family's tables: 4E has those of 3E.
local function key_of(family)
  return family == "1E" and "1E" or "3E"
end

local reader = { key_of = key_of, UNKNOWN_END_CODE = "unknown end code" }

-- Name and class; nil: unknown.
function reader.command(family, code)
  return tables.commands[key_of(family)][code]
end

function reader.end_code_name(family, code)
  for _, row in ipairs(tables.end_codes[key_of(family)]) do
    if code >= row.first and code <= row.last then
      return row.name
    end
  end
  return reader.UNKNOWN_END_CODE
end

-- Devices by the key of each form; rows without a code in that form are left out.
local function devices_by(key, none)
  local found = {}
  for _, device in ipairs(tables.devices) do
    if device[key] ~= none then
      found[device[key]] = device
    end
  end
  return found
end

-- How a device stands in a request: Q/L form, iQ-R form (subcommand 0002, 0003), 1E. Sizes in
-- bytes of binary code, widths in characters of ASCII code.
local forms = {
  short = { binary = devices_by("code", 0), ascii = devices_by("ascii", ""), number = 3, code = 1,
            name_width = 2, number_width = 6, base = "base_short", numbers = 2 ^ 24 },
  long = { binary = devices_by("code_long", 0), ascii = devices_by("ascii_long", ""), number = 4,
           code = 2, name_width = 4, number_width = 8, base = "base", numbers = 2 ^ 32 },
  ["1E"] = { binary = devices_by("code_1e", 0), number = 4, code = 2, numbers = 2 ^ 32 },
}

-- --- reader -------------------------------------------------------------------------------------

-- Numbers of a frame: little-endian bytes in binary code, hexadecimal text in ASCII code. Its
-- fault ("short" or "digit") is sticky: after one everything read is nil.
local Reader = {}
Reader.__index = Reader

function reader.new(tvb, at, stop, ascii)
  return setmetatable({ tvb = tvb, at = at, stop = stop, ascii = ascii }, Reader)
end

function Reader:left()
  return self.stop - self.at
end

-- The next `size` bytes (characters) as they are.
function Reader:raw(size)
  if self.fault or size > self:left() then
    self.fault = self.fault or "short"
    return nil
  end
  if size == 0 then
    return nil
  end
  local range = self.tvb(self.at, size)
  self.at = self.at + size
  return range
end

-- Value and range of a number of `size` bytes; twice as many characters in ASCII code.
function Reader:number(size)
  local range = self:raw(self.ascii and 2 * size or size)
  if not range then
    return nil
  end
  if not self.ascii then
    return range:le_uint(), range
  end
  local text = range:raw()
  if not text:match("^%x+$") then
    self.fault = "digit"
    return nil
  end
  return tonumber(text, 16), range
end

-- Digits in `digits_base` (10 or 16); leading ones may be blanks.
function Reader:padded_number(width, digits_base)
  local range = self:raw(width)
  local digits = range and range:raw():match(digits_base == 10 and "^ *(%d+)$" or "^ *(%x+)$")
  if not digits then
    self.fault = self.fault or "digit"
    return nil
  end
  return tonumber(digits, digits_base)
end

-- '*' fills a device code up; the manual allows a blank in its place.
function Reader:device_ascii(form)
  local range = self:raw(form.name_width)
  if not range then
    return nil
  end
  local code = range:raw():gsub(" ", "*")
  local device = form.ascii[code]
  return device, self:padded_number(form.number_width, device and device[form.base] or 16),
    code:gsub("[^%w*]", "?")
end

function Reader:device_binary(form)
  local number = self:number(form.number)
  local code = self:number(form.code)
  return form.binary[code or 0], number, code and ("%0" .. 2 * form.code .. "X"):format(code)
end

-- In 1E the code stands in front of the number in ASCII code, and all digits are hexadecimal.
function Reader:device_1e(form)
  if not self.ascii then
    return self:device_binary(form)
  end
  local code = self:number(form.code)
  return form.binary[code or 0], self:number(form.number), code and ("%04X"):format(code)
end

-- One device specification: { device (nil = unknown), name, number, range }; nil after a fault.
function Reader:device(form_name)
  local form, start = forms[form_name], self.at
  local read = form_name == "1E" and self.device_1e or
    self.ascii and self.device_ascii or self.device_binary
  local device, number, code = read(self, form)
  if self.fault then
    return nil
  end
  return { device = device, number = number, name = device and device.name or "?" .. code .. " ",
           range = self.tvb(start, self.at - start) }
end

reader.forms = forms

return reader
