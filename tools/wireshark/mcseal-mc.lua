-- SPDX-License-Identifier: Apache-2.0
--
-- Wireshark dissector for the MELSEC communication protocol (MC protocol, SLMP): 3E, 4E and 1E
-- frames in binary and ASCII code, over TCP and UDP. How to install and use it: docs/wireshark.md.
--
-- How it works
--
-- measure() says where a frame ends: 3E and 4E frames carry a length; a 1E request's follows from
-- its command and counts, a 1E answer's from the request it answers. A frame that goes on in the
-- next segment is asked for with desegment_len, and measured anew when TCP has put it together.
--
-- Wireshark shows a packet first in the order of the capture, later in any order. The first time
-- each request is put into a queue of its conversation and each answer takes its request out of
-- it; what was found is kept by packet and position (kept), and later times only look there.
--
-- Captures hold anything: every byte is taken by a Reader, which knows where the frame ends, and
-- contradictions become expert information. What names and classes there are is not written here
-- but in mcseal-mc-tables.lua, which is made from the tables of mcseald.
--
-- Runs in Lua 5.2 (Wireshark 4.0 and 4.2) and 5.4 (4.4): no integer division, no bit operators.
--
-- Sources: MELSEC Communication Protocol Reference Manual (3E, 4E); FX3U-ENET-ADP, QnUCPU (built-in
-- Ethernet) and QJ71E71 User's Manuals (1E).

local Conversation = require("mcseal-mc-conversation")
local dissect_frame = require("mcseal-mc-frame")
local described = require("mcseal-mc-fields")
local layouts = require("mcseal-mc-layouts")
local measure = require("mcseal-mc-measure")
local reader = require("mcseal-mc-reader")

local mc = Proto("mc", "MELSEC Communication Protocol")

local function values_of(map)
  local list = {}
  for _, value in pairs(map) do
    list[#list + 1] = value
  end
  return list
end

mc.fields = values_of(described.fields)
mc.experts = values_of(described.faults)
mc.init = Conversation.forget

-- --- packets ------------------------------------------------------------------------------------

-- What cannot be cut into frames: told, and left alone. MELSOFT (the programming tools) has frames
-- of its own on ports of its own.
local function dissect_unknown(tvb, at, tree)
  local first = tvb(at, 1):uint()
  local melsoft = first == 0x57 or first == 0xd7
  local item = tree:add(mc, tvb(at))
  item:append_text(melsoft and ", MELSOFT frame" or ", no MC frame")
  layouts.add_fault(item, "frame", melsoft and "MELSOFT frame: not MC protocol, not looked into")
  -- Its bytes are no field: they could be the rest of a password.
  return melsoft and "MELSOFT frame" or "no MC frame"
end

-- Of the 1E requests without an answer the first one with this command. Later looks at the capture
-- have what the first one found.
local function outstanding_1e(tvb, at, pinfo, conversation)
  return function(code, ascii)
    local found = Conversation.kept(Conversation.key_of(pinfo, tvb, at))
    if found ~= nil or pinfo.visited then
      return found or nil
    end
    local i = conversation:find({ family = "1E", ascii = ascii, command = code })
    return i and conversation.outstanding[i]
  end
end

-- A packet with the end of one frame and the whole of another comes twice: the second time the
-- Info column still holds what was left there, and the fence keeps it.
local info_shown = ""

local function show_info(pinfo, texts)
  if #texts == 0 then
    return
  end
  local again = info_shown ~= "" and tostring(pinfo.cols.info) == info_shown
  pinfo.cols.protocol = "MC"
  pinfo.cols.info:set((again and "; " or "") .. table.concat(texts, "; "))
  pinfo.cols.info:fence()
  info_shown = tostring(pinfo.cols.info)
end

-- More of the frame can still come: in a later segment, if this one was captured whole.
local function waits(tvb, pinfo, measured)
  return measured.need and pinfo.can_desegment > 0 and tvb:reported_len() <= tvb:len()
end

function mc.dissector(tvb, pinfo, tree)
  local conversation, texts, at = Conversation.of(pinfo), {}, 0
  while at < tvb:len() do
    local measured = measure(tvb, at, outstanding_1e(tvb, at, pinfo, conversation))
    if not measured and at == 0 then
      local first = tvb(0, 1):uint()
      if first ~= 0x57 and first ~= 0xd7 then
        return 0 -- somebody else's
      end
    end
    if not measured then
      texts[#texts + 1] = dissect_unknown(tvb, at, tree)
      break
    elseif waits(tvb, pinfo, measured) then
      pinfo.desegment_offset, pinfo.desegment_len = at, measured.need
      break
    end
    measured.length = measured.length or tvb:len() - at
    local item = tree:add(mc, tvb(at, math.min(measured.length, tvb:len() - at)))
    texts[#texts + 1] = dissect_frame(tvb, at, pinfo, item, measured, conversation)
    at = at + measured.length
  end
  show_info(pinfo, texts)
  return tvb:len()
end

-- --- by what packets are recognised -------------------------------------------------------------

-- Own, control or another CPU of the rack, standby and control systems, or a slot's I/O number.
local function plausible_module(module)
  return module == 0x03ff or module >= 0x03e0 and module <= 0x03e3 or
    module >= 0x03d0 and module <= 0x03d3 or module <= 0x01ff
end

local function plausible_content(input, measured, left)
  if measured.direction == "answer" then
    local code = input:number(2)
    return code and reader.end_code_name("3E", code) ~= reader.UNKNOWN_END_CODE and
      measured.length <= left
  end
  input:number(2)
  local code = input:number(2)
  return code and reader.command("3E", code) ~= nil
end

-- 3E and 4E: subheader, reserved bytes, route, data length, and a command or end code of the table.
-- 1E has nothing to be recognised by.
local function plausible(tvb)
  local measured = tvb:len() >= 11 and measure(tvb, 0, function() end)
  local row = measured and measured.row
  if not row or measured.broken or tvb:len() < row.header + 2 * row.unit then
    return false
  end
  local input = reader.new(tvb, 2 * row.unit, tvb:len(), row.ascii)
  if row.reserved then
    input:raw(2 * row.unit)
    if input:number(2) ~= 0 then
      return false
    end
  end
  input:number(2)
  local module, station = input:number(2), input:number(1)
  if not station or not plausible_module(module) or station > 31 then
    return false
  end
  input:number(2)
  return plausible_content(input, measured, tvb:len()) or false
end

mc:register_heuristic("tcp", function(tvb, pinfo, tree)
  if not plausible(tvb) then
    return false
  end
  -- Later segments may begin in the middle of a frame: from here on all are ours.
  pinfo.conversation = mc
  mc.dissector(tvb, pinfo, tree)
  return true
end)

-- MC protocol has no port of its own: each PLC's is set in its parameters.
mc.prefs.ports = Pref.range("Ports", "", "TCP and UDP ports of PLCs, e.g. 5000-5010", 65535)

local registered_ports = ""

local function each_port_table(action)
  for _, name in ipairs({ "tcp.port", "udp.port" }) do
    action(DissectorTable.get(name))
  end
end

function mc.prefs_changed()
  local before, now = registered_ports, tostring(mc.prefs.ports or "")
  each_port_table(function(ports)
    if before ~= "" then
      ports:remove(before, mc)
    end
    if now ~= "" then
      ports:add(now, mc)
    end
  end)
  registered_ports = now
end

each_port_table(function(ports)
  ports:add_for_decode_as(mc)
end)
