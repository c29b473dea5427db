-- SPDX-License-Identifier: Apache-2.0
--
-- What can be filtered for: the fields of MC frames and the faults that are found in them.

local tables = require("mcseal-mc-tables")

-- 3E codes have four digits, 1E commands two: both fit one table of names.
local function command_names()
  local names = {}
  for _, family in pairs(tables.commands) do
    for code, command in pairs(family) do
      names[code] = command.name
    end
  end
  return names
end

local fields = {
  family = ProtoField.string("mc.family", "Frame", base.ASCII, "1E, 3E or 4E"),
  code = ProtoField.string("mc.code", "Communication data code", base.ASCII, "binary or ascii"),
  direction = ProtoField.string("mc.direction", "Direction", base.ASCII, "request or answer"),
  subheader = ProtoField.uint16("mc.subheader", "Subheader", base.HEX),
  serial = ProtoField.string("mc.serial", "Serial number", base.ASCII,
    "Hexadecimal digits in the order of the wire: clients differ in it"),
  network = ProtoField.uint8("mc.network", "Network number", base.HEX),
  pc = ProtoField.uint8("mc.pc", "PC number", base.HEX, nil, nil, "FF: own CPU"),
  module = ProtoField.uint16("mc.module", "Request destination module I/O number", base.HEX, nil,
    nil, "03FF: own or control CPU"),
  station = ProtoField.uint8("mc.station", "Request destination module station number", base.HEX),
  length = ProtoField.uint16("mc.length", "Data length", base.DEC, nil, nil,
    "Of all that follows: bytes, in ASCII code characters"),
  timer = ProtoField.uint16("mc.timer", "Monitoring timer", base.DEC, nil, nil, "Units of 250 ms"),
  command = ProtoField.uint16("mc.command", "Command", base.HEX, command_names(), nil,
    "In an answer: that of its request"),
  subcommand = ProtoField.uint16("mc.subcommand", "Subcommand", base.HEX),
  class = ProtoField.string("mc.class", "Class", base.ASCII,
    "What a policy of mcseal calls the command; in an answer: that of its request"),
  device = ProtoField.string("mc.device", "Device", base.ASCII, "Device code: D, M, X, ..."),
  device_number = ProtoField.uint32("mc.device_number", "Device number", base.DEC),
  device_last = ProtoField.uint32("mc.device_last", "Last device number", base.DEC, nil, nil,
    "The last point of the device that is touched"),
  points = ProtoField.uint16("mc.points", "Number of device points", base.DEC, nil, nil,
    "As the frame counts them: bits or words"),
  count = ProtoField.uint16("mc.count", "Count", base.DEC, nil, nil,
    "Entries or blocks of a request with several devices; bytes of a buffer"),
  address = ProtoField.uint32("mc.address", "Buffer memory address", base.HEX),
  value = ProtoField.uint32("mc.value", "Value", base.DEC, nil, nil, "Of one point"),
  mode = ProtoField.uint16("mc.mode", "Mode", base.HEX, { [1] = "normal", [3] = "force" }),
  clear = ProtoField.uint8("mc.clear", "Clear mode", base.DEC,
    { [0] = "no clear", [1] = "clear except latch", [2] = "clear all" }),
  model = ProtoField.string("mc.model", "CPU model name"),
  model_code = ProtoField.uint16("mc.model_code", "CPU model code", base.HEX),
  data = ProtoField.bytes("mc.data", "Data"),
  password = ProtoField.string("mc.password", "Remote password", base.ASCII,
    "Its characters are never shown"),
  end_code = ProtoField.uint16("mc.end_code", "End code", base.HEX, nil, nil,
    "0: normal; of a 1E answer: the complete code"),
  abnormal_code = ProtoField.uint8("mc.abnormal_code", "Abnormal code", base.HEX, nil, nil,
    "Of a 1E answer with the complete code 5B"),
  error_network = ProtoField.uint8("mc.error_network", "Responding network number", base.HEX),
  error_pc = ProtoField.uint8("mc.error_pc", "Responding PC number", base.HEX),
  error_module = ProtoField.uint16("mc.error_module", "Responding module I/O number", base.HEX),
  error_station = ProtoField.uint8("mc.error_station", "Responding station number", base.HEX),
  error_command = ProtoField.uint16("mc.error_command", "Refused command", base.HEX),
  error_subcommand = ProtoField.uint16("mc.error_subcommand", "Refused subcommand", base.HEX),
  request_in = ProtoField.framenum("mc.request_in", "Request in", base.NONE, frametype.REQUEST),
  answer_in = ProtoField.framenum("mc.answer_in", "Answer in", base.NONE, frametype.RESPONSE),
  time = ProtoField.relative_time("mc.time", "Time from request to answer"),
}

local function expert_info(name, text, group, severity)
  return ProtoExpert.new("mc.fault." .. name, text, group, severity)
end

-- Faults in a frame bear the names that mcseal's rules have.
local faults = {
  length = expert_info("length", "Lengths contradict", expert.group.MALFORMED,
    expert.severity.WARN),
  count = expert_info("count", "No points, too many, or beyond the last device number",
    expert.group.PROTOCOL, expert.severity.WARN),
  shape = expert_info("shape", "A device or field of a kind that the command does not have",
    expert.group.PROTOCOL, expert.severity.WARN),
  command = expert_info("command", "Unknown command", expert.group.UNDECODED,
    expert.severity.WARN),
  subcommand = expert_info("subcommand", "Unknown subcommand", expert.group.UNDECODED,
    expert.severity.WARN),
  frame = expert_info("frame", "No MC frame begins like this", expert.group.MALFORMED,
    expert.severity.WARN),
  undecoded = expert_info("undecoded", "Not looked into", expert.group.UNDECODED,
    expert.severity.NOTE),
  unpaired = expert_info("unpaired", "The request of this answer is not in the capture",
    expert.group.SEQUENCE, expert.severity.NOTE),
  end_code = expert_info("end_code", "Error answer", expert.group.RESPONSE_CODE,
    expert.severity.NOTE),
}

return { fields = fields, faults = faults }
