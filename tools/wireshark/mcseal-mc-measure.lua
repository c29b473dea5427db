-- SPDX-License-Identifier: Apache-2.0
--
-- Where MC frames end: 3E and 4E frames carry a length, 1E frames do not.
--
-- Sources: MELSEC Communication Protocol Reference Manual (message formats); FX3U-ENET-ADP (1E 00
-- to 05, 13 to 16), QnUCPU (06 to 09) and QJ71E71 (60 to 62) User's Manuals.

local reader = require("mcseal-mc-reader")

-- Of 3E and 4E: up to and including the data length, the least data length, and where the two
-- (four) zeros of a 4E frame stand.
local function envelope(family, ascii, direction, subheader, header, minimum, reserved)
  return { family = family, ascii = ascii, direction = direction, subheader = subheader,
           header = header, minimum = minimum, reserved = reserved, unit = ascii and 2 or 1 }
end

local ENVELOPES = {
  envelope("3E", false, "request", "\x50\x00", 9, 6),
  envelope("4E", false, "request", "\x54\x00", 13, 6, 4),
  envelope("3E", true, "request", "5000", 18, 12),
  envelope("4E", true, "request", "5400", 26, 12, 8),
  envelope("3E", false, "answer", "\xd0\x00", 9, 2),
  envelope("4E", false, "answer", "\xd4\x00", 13, 2, 4),
  envelope("3E", true, "answer", "D000", 18, 4),
  envelope("4E", true, "answer", "D400", 26, 4, 8),
}

-- 1E requests have no length. In bytes of binary code: the head, where the count stands and its
-- size, half bytes for each point in request and answer, other bytes of the answer. ASCII code
-- takes exactly twice as many: an odd bit is filled up to a whole byte in both.
local function sizes(head, count_at, count_size, request_halves, answer_halves, answer_fixed)
  return { head = head, count_at = count_at, count_size = count_size,
           request_halves = request_halves, answer_halves = answer_halves,
           answer_fixed = answer_fixed }
end

local SIZES_1E = {
  [0x00] = sizes(12, 10, 1, 0, 1, 2),
  [0x01] = sizes(12, 10, 1, 0, 4, 2),
  [0x02] = sizes(12, 10, 1, 1, 0, 2),
  [0x03] = sizes(12, 10, 1, 4, 0, 2),
  [0x04] = sizes(6, 4, 1, 14, 0, 2),
  [0x05] = sizes(6, 4, 1, 16, 0, 2),
  [0x06] = sizes(6, 4, 1, 12, 0, 2),
  [0x07] = sizes(6, 4, 1, 12, 0, 2),
  [0x08] = sizes(4, 0, 0, 0, 0), -- the answer is as long as the registration makes it
  [0x09] = sizes(4, 0, 0, 0, 0),
  [0x13] = sizes(4, 0, 0, 0, 0, 2),
  [0x14] = sizes(4, 0, 0, 0, 0, 2),
  [0x15] = sizes(4, 0, 0, 0, 0, 4),
  [0x16] = sizes(5, 4, 1, 2, 2, 3),
  [0x60] = sizes(4, 2, 2, 4, 0, 2),
  [0x61] = sizes(6, 4, 2, 0, 4, 2),
  [0x62] = sizes(6, 4, 2, 4, 0, 2),
}

local BATCH_1E = 0x03 -- up to this command a count of 0 means 256

local function halves(points, each)
  return math.ceil(points * each / 2)
end

-- A number at the binary offset `at` of a 1E frame; nil: it is no number.
local function number_1e(tvb, start, ascii, at, size)
  return (reader.new(tvb, start + (ascii and 2 * at or at), tvb:len(), ascii):number(size))
end

-- The length field is there: the frame, or its fault.
local function measure_envelope(row, tvb, at)
  local left = tvb:len() - at
  local frame = { family = row.family, ascii = row.ascii, direction = row.direction, row = row }
  if left < row.header then
    frame.need = DESEGMENT_ONE_MORE_SEGMENT
    return frame
  end
  local length = reader.new(tvb, at + row.header - 2 * row.unit, tvb:len(), row.ascii):number(2)
  if not length or length < row.minimum then
    -- Where the next one begins nobody knows.
    frame.length, frame.broken = left, true
    return frame
  end
  frame.length = row.header + length
  if left < frame.length then
    frame.need = frame.length - left
  end
  return frame
end

local function need_1e(frame, left)
  if frame.length and left < frame.length then
    frame.need = frame.length - left
  end
  return frame
end

-- Commands that are not documented well enough (special module buffer, extension file register)
-- go on to the end of the segment.
local function measure_request_1e(tvb, at, ascii)
  local unit, left = ascii and 2 or 1, tvb:len() - at
  local frame = { family = "1E", ascii = ascii, direction = "request" }
  local command = number_1e(tvb, at, ascii, 0, 1)
  local row = SIZES_1E[command]
  if not row then
    frame.length = math.max(left, 4 * unit)
    return need_1e(frame, left)
  end
  if left < row.head * unit then
    frame.need = DESEGMENT_ONE_MORE_SEGMENT
    return frame
  end
  local points = row.count_size > 0 and number_1e(tvb, at, ascii, row.count_at, row.count_size) or 0
  if points == 0 and command <= BATCH_1E then
    points = 256
  end
  frame.length = (row.head + halves(points, row.request_halves)) * unit
  frame.answer_1e = row.answer_fixed and row.answer_fixed + halves(points, row.answer_halves)
  frame.monitor_1e = 2 + halves(points, command == 0x06 and 1 or 4)
  return need_1e(frame, left)
end

-- A normal answer is as long as the request asked for; 5B is followed by an abnormal code and 00.
local function measure_answer_1e(tvb, at, ascii, request)
  local unit, left = ascii and 2 or 1, tvb:len() - at
  local frame = { family = "1E", ascii = ascii, direction = "answer" }
  if left < 2 * unit then
    frame.need = DESEGMENT_ONE_MORE_SEGMENT
    return frame
  end
  local complete = number_1e(tvb, at, ascii, 1, 1)
  if complete == 0 then
    frame.length = request and request.answer_1e and request.answer_1e * unit or left
  else
    frame.length = (complete == 0x5b and 4 or 2) * unit
  end
  return need_1e(frame, left)
end

-- The sets of first bytes do not overlap: 3E and 4E in binary (50 54 D0 D4) and ASCII code (5 D),
-- 1E requests (00 to 1B, 60 to 62) and their answers, which have the highest bit set; the same as
-- text. nil: no MC frame. Otherwise its `length`, when it is known, and what it still needs of the
-- next segments: so many bytes, or one more segment while they have to tell the length.
local function measure(tvb, at, outstanding_1e)
  local first = tvb(at, 1):uint()
  local text = tvb:raw(at, math.min(4, tvb:len() - at))
  for _, row in ipairs(ENVELOPES) do
    local known = math.min(#text, #row.subheader)
    if text:sub(1, known) == row.subheader:sub(1, known) then
      return measure_envelope(row, tvb, at)
    end
  end
  local ascii = first >= 0x30 and first <= 0x46
  local command = ascii and tonumber(text:match("^%x%x") or "", 16) or not ascii and first or nil
  if ascii and #text == 1 then
    return { family = "1E", ascii = true, need = DESEGMENT_ONE_MORE_SEGMENT, direction = "request" }
  elseif not command then
    return nil
  elseif reader.command("1E", command) then
    return measure_request_1e(tvb, at, ascii)
  elseif command >= 0x80 and reader.command("1E", command - 0x80) then
    return measure_answer_1e(tvb, at, ascii, outstanding_1e(command - 0x80, ascii))
  end
  return nil
end

return measure
