-- SPDX-License-Identifier: Apache-2.0
--
-- One frame, from its subheader to its end, with its request or answer.

local Conversation = require("mcseal-mc-conversation")
local fields = require("mcseal-mc-fields").fields
local layouts = require("mcseal-mc-layouts")
local reader = require("mcseal-mc-reader")

local Frame = layouts.Frame

local BUFFERS_1E = 0x60 -- the first command of those

-- What first_look(conversation) returned when the frame was seen first; false: it found nothing.
function Frame:keep(first_look)
  if Conversation.kept(self.key) == nil and not self.pinfo.visited then
    Conversation.keep(self.key, first_look(self.conversation))
  end
  return Conversation.kept(self.key)
end

local function route(frame)
  frame:add(fields.network, 1)
  frame:add(fields.pc, 1)
  frame:add(fields.module, 2)
  frame:add(fields.station, 1)
end

-- Up to and including the data length.
local function header(frame)
  local input, row = frame.reader, frame.measured.row
  local range = input:raw(2 * row.unit)
  if not range then
    return
  end
  -- The one number that is big-endian in binary code, too.
  frame.tree:add(fields.subheader, range,
    row.ascii and tonumber(range:raw(), 16) or range:uint())
  if row.reserved then
    local serial = input:raw(2 * row.unit)
    frame.serial = serial and (row.ascii and serial:raw():gsub("%W", "?") or serial:bytes():tohex())
    if frame.serial then
      frame.tree:add(fields.serial, serial, frame.serial)
    end
    local reserved = input:number(2)
    if reserved and reserved ~= 0 then
      frame:fault("shape", "The reserved bytes behind the serial number must be 0")
    end
  end
  route(frame)
  local _, item = frame:add(fields.length, 2)
  if frame.measured.broken then
    frame:fault("length", "The data length is too small for the frame, or no number", item)
  end
end

local function timer(frame)
  local value, item = frame:add(fields.timer, 2)
  if value then
    item:append_text(value == 0 and " (waits without limit)" or (" (%d ms)"):format(250 * value))
  end
end

-- What is left of a frame, or what it lacks, is told once.
local function check_end(frame, whose)
  local input = frame.reader
  if input.fault == "digit" then
    frame:fault("shape", "ASCII code with a character that is no digit")
  elseif input.fault then
    frame:fault("length", frame.cut and "The packet ends before the frame does" or
      "Shorter than " .. whose .. " says")
  elseif input:left() > 0 then
    frame:fault("length", ("%d bytes more than %s says"):format(input:left(), whose))
  else
    return
  end
  -- What nobody knows the meaning of could be a password.
  if frame.request.class ~= "security" and frame.request.command and not frame.measured.broken then
    input.fault = nil
    frame:rest()
  end
end

local function form_of(family, subcommand)
  if family == "1E" then
    return "1E"
  end
  return subcommand % 4 >= 2 and "long" or "short"
end

-- Subcommand 008x has an extension specification in each device: two layouts are known, told apart
-- by nothing in the frame. Not looked into.
local function request_layout(frame, row)
  local request = frame.request
  if not row.subcommands then
    return row.request
  end
  local text = ("%04X"):format(request.subcommand)
  if text:match("^000" .. row.subcommands .. "$") then
    return row.request
  end
  if request.class == "security" then
    return layouts.password
  end
  if text:match("^00[48C]") then
    frame:fault("undecoded", "Devices with an extension specification or a monitor condition")
    return layouts.rest
  end
  frame:fault("subcommand")
  return layouts.rest
end

local function command(frame)
  local family = frame.measured.family
  local code, item = frame:add(fields.command, family == "1E" and 1 or 2)
  local known = code and reader.command(family, code)
  if code and not known then
    frame:fault("command", nil, item)
  end
  frame.request.command, frame.request.known = code, known ~= nil
  frame.request.name = known and known.name:gsub("^batch ", "") or
    code and ("unknown command %X"):format(code) or "broken request"
  frame.request.class = known and known.class or "other"
  return code
end

local function request_fields(frame)
  local request, family = frame.request, frame.measured.family
  if family == "1E" then
    -- The buffers of an E71 module have a head of their own.
    if (command(frame) or 0) < BUFFERS_1E then
      frame:add(fields.pc, 1)
      timer(frame)
    end
    request.subcommand = 0
    request.bits = (request.command or 0) % 2 == 0
  else
    header(frame)
    timer(frame)
    command(frame)
    request.subcommand = frame:add(fields.subcommand, 2) or 0
    request.bits = request.subcommand % 2 == 1
  end
  request.serial = frame.serial
  request.form = form_of(family, request.subcommand)
  request.layout = layouts.layout_of(family, request.command)
  request.write = request.layout.write
end

local function request_text(request)
  local devices = layouts.entries_text(request.entries)
  return request.name .. (devices ~= "" and " " .. devices or "")
end

local function dissect_request(frame)
  local measured = frame.measured
  frame.request = { family = measured.family, ascii = measured.ascii, entries = {},
                    answer_1e = measured.answer_1e, monitor_1e = measured.monitor_1e }
  local request = frame.request
  request_fields(frame)
  if not frame.reader.fault then
    request_layout(frame, request.layout)(frame)
  end
  check_end(frame, "its content")
  frame.tree:add(fields.class, request.class):set_generated()
  request = frame:keep(function(conversation)
    request.frame, request.time = frame.pinfo.number, frame.pinfo.rel_ts
    conversation:ask(request)
    request.text = request_text(request)
    return request
  end) or request
  if request.answered_in then
    frame.tree:add(fields.answer_in, request.answered_in):set_generated()
  end
  return request.text or request_text(request)
end

-- Error information block: the responding station, and the command it refuses. Some gear leaves it
-- out.
local function error_block(frame, answer)
  if frame.reader:left() == 0 then
    return
  end
  frame:add(fields.error_network, 1)
  frame:add(fields.error_pc, 1)
  frame:add(fields.error_module, 2)
  frame:add(fields.error_station, 1)
  answer.command = frame:add(fields.error_command, 2)
  frame:add(fields.error_subcommand, 2)
  answer.error_block = answer.command ~= nil
end

local function end_code(frame, answer)
  local is_1e = answer.family == "1E"
  local code, item = frame:add(fields.end_code, is_1e and 1 or 2)
  if not code then
    return
  end
  answer.end_code, answer.end_name = code, reader.end_code_name(answer.family, code)
  item:append_text((" (%s)"):format(answer.end_name))
  if code == 0 then
    return
  end
  frame:fault("end_code", answer.end_name, item)
  if not is_1e then
    error_block(frame, answer)
  elseif code == 0x5b then
    frame:add(fields.abnormal_code, 1)
    frame.reader:number(1)
  end
end

-- What the request says of the answer, with links between the two.
local function show_request(frame, request)
  if request.command then
    frame.tree:add(fields.command, request.command):set_generated()
  end
  frame.tree:add(fields.class, request.class):set_generated()
  frame.tree:add(fields.request_in, request.frame):set_generated()
  local elapsed = frame.pinfo.rel_ts - request.time
  local seconds = math.floor(elapsed)
  local time = NSTime.new(seconds, math.floor((elapsed - seconds) * 1e9 + 0.5))
  frame.tree:add(fields.time, time):set_generated()
end

local function answer_data(frame, answer, request)
  if answer.end_code ~= 0 then
    return
  elseif not request then
    frame:rest()
  elseif request.class ~= "security" then
    -- Nobody saw the registration that this monitor answer belongs to.
    local unregistered = request.layout.answer == layouts.values and #request.entries == 0
    local decode = unregistered and layouts.rest or request.layout.answer
    decode(frame)
  end
end

local function answer_text(answer, request)
  local about = request and request.text
  if not answer.end_code then
    return "broken answer"
  elseif answer.end_code == 0 then
    return "answer" .. (about and ": " .. about or "")
  end
  return ("error %0" .. (answer.family == "1E" and 2 or 4) .. "X %s%s")
    :format(answer.end_code, answer.end_name, about and " (" .. about .. ")" or "")
end

local function dissect_answer(frame)
  local measured = frame.measured
  local answer = { family = measured.family, ascii = measured.ascii }
  frame.request = { family = measured.family, class = "other", entries = {} }
  if measured.family == "1E" then
    local code = frame.reader:number(1)
    answer.command = code and code - 0x80
  else
    header(frame)
    answer.serial = frame.serial
  end
  end_code(frame, answer)
  local request = frame:keep(function(conversation)
    local taken = conversation:take(answer)
    if taken then
      taken.answered_in = frame.pinfo.number
    end
    return taken
  end)
  if request then
    show_request(frame, request)
    frame.request = request
  else
    frame:fault("unpaired")
  end
  answer_data(frame, answer, request)
  check_end(frame, request and "its request" or "its content")
  return answer_text(answer, request)
end

-- The frame at `at`, as measure() told it, below the item `tree`. Returns what the Info column is
-- to say of it.
local function dissect(tvb, at, pinfo, tree, measured, conversation)
  local stop = math.min(at + measured.length, tvb:len())
  local frame = setmetatable({
    tree = tree, pinfo = pinfo, measured = measured, conversation = conversation,
    reader = reader.new(tvb, at, stop, measured.ascii), key = Conversation.key_of(pinfo, tvb, at),
    cut = at + measured.length > stop,
  }, Frame)
  tree:add(fields.family, measured.family):set_generated()
  tree:add(fields.code, measured.ascii and "ascii" or "binary"):set_generated()
  tree:add(fields.direction, measured.direction):set_generated()
  local text = (measured.direction == "request" and dissect_request or dissect_answer)(frame)
  text = measured.family .. " " .. text
  tree:append_text((", %s: %s"):format(measured.ascii and "ASCII" or "binary", text))
  return text
end

return dissect
