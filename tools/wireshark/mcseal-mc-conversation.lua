-- SPDX-License-Identifier: Apache-2.0
--
-- Which request an answer belongs to.

local layouts = require("mcseal-mc-layouts")

local tcp_stream = Field.new("tcp.stream")
local udp_stream = Field.new("udp.stream")

-- Of one-sided captures: answers that never come must not fill the memory. More requests than this
-- fit no receive buffer of a PLC.
local OUTSTANDING_MAX = 600

local conversations -- by stream: requests without an answer, and what was last registered
local kept          -- by packet and position: what the first look at a frame found

local Conversation = {}
Conversation.__index = Conversation

-- A new capture is read.
function Conversation.forget()
  conversations, kept = {}, {}
end

Conversation.forget()

-- In a tunnel the innermost stream counts: the last one.
local function last_value(...)
  local count = select("#", ...)
  return count > 0 and select(count, ...).value
end

local function stream_name(pinfo)
  if pinfo.port_type == 2 then
    return "tcp" .. tostring(last_value(tcp_stream()))
  elseif pinfo.port_type == 3 then
    return "udp" .. tostring(last_value(udp_stream()))
  end
  return "other"
end

function Conversation.of(pinfo)
  local name = stream_name(pinfo)
  local found = conversations[name]
  if not found then
    found = setmetatable({ outstanding = {}, registered = {}, datagrams = pinfo.port_type == 3 },
      Conversation)
    conversations[name] = found
  end
  return found
end

-- A packet can hold several frames, in its own bytes and in those put together from segments.
function Conversation.key_of(pinfo, tvb, at)
  return ("%d/%d/%d/%d"):format(pinfo.number, tvb:offset(), tvb:len(), at)
end

-- What was found at that position when it was looked at first; false: nothing, nil: never looked.
function Conversation.kept(key)
  return kept[key]
end

function Conversation.keep(key, found)
  kept[key] = found or false
end

function Conversation:ask(request)
  local queue = self.outstanding
  if #queue >= OUTSTANDING_MAX then
    table.remove(queue, 1)
  end
  queue[#queue + 1] = request
  -- What the monitor will answer with is what was registered before it.
  local registered = self.registered[request.command]
  if registered and request.layout.answer == layouts.values and #request.entries == 0 then
    request.entries, request.answer_1e = registered.entries, registered.monitor_1e
  end
end

-- Whether an answer can be that of a request; a 4E serial number is compared as it stands.
local function fits(request, answer)
  return request.family == answer.family and request.ascii == answer.ascii and
    (answer.serial == nil or answer.serial == request.serial) and
    (answer.command == nil or answer.command == request.command)
end

-- In TCP the k-th answer belongs to the k-th request that it fits. A datagram may be lost and the
-- client ask again: there it belongs to the newest, and older ones will not be answered.
function Conversation:find(answer)
  local queue = self.outstanding
  local first, last, step = 1, #queue, 1
  if self.datagrams then
    first, last, step = #queue, 1, -1
  end
  for i = first, last, step do
    if fits(queue[i], answer) then
      return i
    end
  end
  return nil
end

function Conversation:take_at(i, answer)
  local request = table.remove(self.outstanding, i)
  if self.datagrams and not answer.serial then
    self.outstanding = {}
  end
  local monitor = layouts.monitor_of(request)
  if monitor and answer.end_code == 0 then
    self.registered[monitor] = request
  end
  return request
end

-- The request that the answer belongs to, which then waits no longer; or nil.
function Conversation:take(answer)
  local i = self:find(answer)
  if not i and answer.error_block then
    -- The block is the word of whoever answered: where it fits no request, the order still does.
    answer.command = nil
    i = self:find(answer)
  end
  return i and self:take_at(i, answer)
end

return Conversation
