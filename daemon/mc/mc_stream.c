/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * The first byte of a request tells family and code: 50/54 binary 3E/4E, '5' the same in ASCII,
 * 00..16 and 60..62 binary 1E, '0' '1' '6' ASCII 1E. These sets do not overlap. An answer is
 * never detected: it must begin as an answer to the last request does.
 *
 * 3E/4E: fixed header, ending in the number of bytes (ASCII: characters) that follow it.
 *
 * 1E: every command is one row of a table that tells where the count of points stands and how
 * many half bytes each point takes in the request and in the answer. A bit takes one half byte,
 * and an odd one is filled up to a whole byte in both codes, so an ASCII frame has exactly twice
 * the bytes of the binary one; all 1E sizes here are binary sizes until the very end.
 *
 * Nothing is decided on bytes that may still change the decision: cut the stream anywhere and
 * the frames are the same. Anything unclear is bad; a proxy must not guess where a PLC's next
 * request begins.
 */
#include "mc/mc_stream.h"
#include "base/bytes.h"
#include "base/error.h"
#include "mc/mc_number.h"

#include <string.h>

/* --- 3E and 4E ------------------------------------------------------------------------------- */

struct envelope {
	enum mc_family family;
	enum mc_code code;
	const char *request; /* subheader */
	const char *answer;
	uint8_t subheader;
	uint8_t header;   /* up to and including the data length */
	uint8_t minimum;  /* of a request's data length: timer, command, subcommand */
	uint8_t reserved; /* offset of the two (four) zeros of a 4E request; 0 = none */
};

static const struct envelope ENVELOPES[] = {
	{MC_FAMILY_3E, MC_CODE_BINARY, "\x50\x00", "\xd0\x00", 2, 9, 6, 0},
	{MC_FAMILY_4E, MC_CODE_BINARY, "\x54\x00", "\xd4\x00", 2, 13, 6, 4},
	{MC_FAMILY_3E, MC_CODE_ASCII, "5000", "D000", 4, 18, 12, 0},
	{MC_FAMILY_4E, MC_CODE_ASCII, "5400", "D400", 4, 26, 12, 8},
};

static size_t smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

static enum mc_split more(struct mc_frame *frame, size_t need, size_t frame_max)
{
	frame->need = need;
	return need <= frame_max ? MC_SPLIT_MORE : MC_SPLIT_BAD;
}

static enum mc_split whole_or_more(struct mc_frame *frame, size_t length, size_t size,
				   size_t frame_max)
{
	frame->length = length;
	if (size < length)
		return more(frame, length, frame_max);
	return length <= frame_max ? MC_SPLIT_FRAME : MC_SPLIT_BAD;
}

static bool reserved_is_zero(const struct envelope *envelope, const uint8_t *bytes)
{
	if (!envelope->reserved)
		return true;
	bytes += envelope->reserved;
	return memcmp(bytes, envelope->code == MC_CODE_ASCII ? "0000" : "\0\0",
		      envelope->subheader) == 0;
}

/* The subheader was seen. */
static enum mc_split split_envelope(const struct envelope *envelope, enum mc_direction direction,
				    const uint8_t *bytes, size_t size, size_t frame_max,
				    struct mc_frame *frame)
{
	size_t digits = envelope->subheader;
	size_t minimum = direction == MC_REQUEST ? envelope->minimum : envelope->subheader;
	uint32_t length;

	frame->family = envelope->family;
	frame->code = envelope->code;
	if (size < envelope->header)
		return more(frame, envelope->header, frame_max);
	if (direction == MC_REQUEST && !reserved_is_zero(envelope, bytes))
		return MC_SPLIT_BAD;
	if (envelope->code == MC_CODE_BINARY)
		length = get_le16(bytes + envelope->header - digits);
	else if (!mc_number_from_hex(bytes + envelope->header - digits, digits, &length))
		return MC_SPLIT_BAD;
	if (length < minimum)
		return MC_SPLIT_BAD;
	return whole_or_more(frame, envelope->header + length, size, frame_max);
}

/* --- 1E -------------------------------------------------------------------------------------- */

enum zero_points {
	ZERO_AS_IT_IS,
	ZERO_IS_256, /* one byte cannot say 256 otherwise */
	ZERO_IS_BAD,
};

/* Sizes and offsets in bytes of binary code. */
struct layout_1e {
	uint8_t command;
	uint8_t head;       /* up to and including the count; the whole request without one */
	uint8_t count_at;   /* 0 = no count */
	uint8_t count_size; /* 1 or 2 */
	uint8_t zero_at;    /* a byte that must be 00; 0 = none */
	enum zero_points zero;
	uint8_t request_halves; /* half bytes per point after the head */
	uint8_t answer_halves;  /* the same in the answer */
	uint8_t answer_fixed;   /* answer bytes beside them, with command and complete code */
};

/*
 * FX3U-ENET-ADP manual (00-05, 13-16), QnUCPU manual (06-09), QJ71E71 manual (60-62). Commands
 * not listed (special module buffer, extension file register) cannot be framed: bad.
 */
static const struct layout_1e LAYOUTS_1E[] = {
	{0x00, 12, 10, 1, 11, ZERO_IS_256, 0, 1, 2}, /* batch read, bits */
	{0x01, 12, 10, 1, 11, ZERO_IS_256, 0, 4, 2}, /* batch read, words */
	{0x02, 12, 10, 1, 11, ZERO_IS_256, 1, 0, 2}, /* batch write, bits */
	{0x03, 12, 10, 1, 11, ZERO_IS_256, 4, 0, 2}, /* batch write, words */
	{0x04, 6, 4, 1, 5, ZERO_IS_BAD, 14, 0, 2},   /* random write, bits */
	{0x05, 6, 4, 1, 5, ZERO_IS_BAD, 16, 0, 2},   /* random write, words */
	{0x06, 6, 4, 1, 5, ZERO_IS_BAD, 12, 0, 2},   /* monitor registration, bits */
	{0x07, 6, 4, 1, 5, ZERO_IS_BAD, 12, 0, 2},   /* monitor registration, words */
	{0x08, 4, 0, 0, 0, ZERO_AS_IT_IS, 0, 0, 2},  /* monitor, bits */
	{0x09, 4, 0, 0, 0, ZERO_AS_IT_IS, 0, 0, 2},  /* monitor, words */
	{0x13, 4, 0, 0, 0, ZERO_AS_IT_IS, 0, 0, 2},  /* remote RUN */
	{0x14, 4, 0, 0, 0, ZERO_AS_IT_IS, 0, 0, 2},  /* remote STOP */
	{0x15, 4, 0, 0, 0, ZERO_AS_IT_IS, 0, 0, 4},  /* PLC model code */
	{0x16, 5, 4, 1, 0, ZERO_AS_IT_IS, 2, 2, 3},  /* loopback */
	{0x60, 4, 2, 2, 1, ZERO_IS_BAD, 4, 0, 2},    /* fixed buffer */
	{0x61, 6, 4, 2, 1, ZERO_IS_BAD, 0, 4, 2},    /* random access buffer read */
	{0x62, 6, 4, 2, 1, ZERO_IS_BAD, 4, 0, 2},    /* random access buffer write */
};

enum {
	COMMAND_REGISTER_BITS = 0x06,
	COMMAND_REGISTER_WORDS = 0x07,
	COMMAND_MONITOR_BITS = 0x08,
	COMMAND_MONITOR_WORDS = 0x09,
	COMPLETE_NORMAL = 0x00,
	COMPLETE_WITH_ABNORMAL = 0x5b, /* an abnormal code and 00 follow */
	HEAD_1E = 4,                   /* command, PC number, timer: the shortest request */
	HEAD_ANSWER_1E = 2,            /* command, complete code: the shortest answer */
};

static const struct layout_1e *layout_1e(uint32_t command)
{
	for (size_t i = 0; i < ARRAY_SIZE(LAYOUTS_1E); i++) {
		if (LAYOUTS_1E[i].command == command)
			return &LAYOUTS_1E[i];
	}
	return NULL;
}

/* The number of `width` bytes at the binary offset `at`; false where ASCII is not hexadecimal. */
static bool field_1e(const uint8_t *bytes, enum mc_code code, size_t at, size_t width,
		     uint32_t *value)
{
	if (code == MC_CODE_ASCII)
		return mc_number_from_hex(bytes + 2 * at, 2 * width, value);
	*value = width == 1 ? bytes[at] : get_le16(bytes + at);
	return true;
}

static size_t wire_size(enum mc_code code, size_t binary)
{
	return code == MC_CODE_ASCII ? 2 * binary : binary;
}

static size_t half_bytes(uint32_t points, uint8_t halves)
{
	return ((size_t)points * halves + 1) / 2;
}

/* The head is whole. False: the request contradicts itself. */
static bool points_1e(const struct layout_1e *layout, enum mc_code code, const uint8_t *bytes,
		      uint32_t *points)
{
	uint32_t zero;

	*points = 0;
	if (layout->zero_at && (!field_1e(bytes, code, layout->zero_at, 1, &zero) || zero != 0))
		return false;
	if (!layout->count_at)
		return true;
	if (!field_1e(bytes, code, layout->count_at, layout->count_size, points))
		return false;
	if (*points == 0 && layout->zero == ZERO_IS_256)
		*points = 256;
	return *points != 0 || layout->zero != ZERO_IS_BAD;
}

static bool monitor_unregistered(const struct mc_stream *stream, uint32_t command)
{
	return (command == COMMAND_MONITOR_BITS && stream->monitor_1e[0] == 0) ||
	       (command == COMMAND_MONITOR_WORDS && stream->monitor_1e[1] == 0);
}

/* The first byte told that this is a 1E request in this code. */
static enum mc_split split_request_1e(const struct mc_stream *stream, enum mc_code code,
				      const uint8_t *bytes, size_t size, size_t frame_max,
				      struct mc_frame *frame)
{
	const struct layout_1e *layout;
	uint32_t command;
	uint32_t points;

	frame->family = MC_FAMILY_1E;
	frame->code = code;
	if (size < wire_size(code, 1))
		return more(frame, wire_size(code, HEAD_1E), frame_max);
	if (!field_1e(bytes, code, 0, 1, &command))
		return MC_SPLIT_BAD;
	layout = layout_1e(command);
	/* The length of a monitor answer is known only to who saw the registration. */
	if (!layout || monitor_unregistered(stream, command))
		return MC_SPLIT_BAD;
	if (size < wire_size(code, layout->head))
		return more(frame, wire_size(code, layout->head), frame_max);
	if (!points_1e(layout, code, bytes, &points))
		return MC_SPLIT_BAD;
	return whole_or_more(
		frame, wire_size(code, layout->head + half_bytes(points, layout->request_halves)),
		size, frame_max);
}

static enum mc_split split_answer_1e(const struct mc_stream *stream, const uint8_t *bytes,
				     size_t size, size_t frame_max, struct mc_frame *frame)
{
	enum mc_code code = (enum mc_code)stream->code;
	uint32_t command;
	uint32_t complete;
	size_t length = HEAD_ANSWER_1E;

	if (!stream->outstanding_1e)
		return MC_SPLIT_BAD;
	frame->family = MC_FAMILY_1E;
	frame->code = code;
	if (size < wire_size(code, 1))
		return more(frame, wire_size(code, HEAD_ANSWER_1E), frame_max);
	if (!field_1e(bytes, code, 0, 1, &command) || command != (stream->command_1e | 0x80u))
		return MC_SPLIT_BAD;
	if (size < wire_size(code, HEAD_ANSWER_1E))
		return more(frame, wire_size(code, HEAD_ANSWER_1E), frame_max);
	if (!field_1e(bytes, code, 1, 1, &complete))
		return MC_SPLIT_BAD;
	if (complete == COMPLETE_NORMAL)
		length = stream->answer_1e;
	else if (complete == COMPLETE_WITH_ABNORMAL)
		length += 2;
	return whole_or_more(frame, wire_size(code, length), size, frame_max);
}

static void request_passed_1e(struct mc_stream *stream, const uint8_t *bytes,
			      const struct mc_frame *frame)
{
	const struct layout_1e *layout;
	uint32_t command;
	uint32_t points;

	if (!field_1e(bytes, frame->code, 0, 1, &command))
		return;
	layout = layout_1e(command);
	if (!layout || !points_1e(layout, frame->code, bytes, &points))
		return;
	stream->outstanding_1e = true;
	stream->command_1e = (uint8_t)command;
	stream->answer_1e =
		(uint32_t)(layout->answer_fixed + half_bytes(points, layout->answer_halves));
	stream->registering_1e = 0;
	if (command == COMMAND_REGISTER_BITS)
		stream->registering_1e = (uint16_t)(HEAD_ANSWER_1E + half_bytes(points, 1));
	if (command == COMMAND_REGISTER_WORDS)
		stream->registering_1e = (uint16_t)(HEAD_ANSWER_1E + half_bytes(points, 4));
	if (command == COMMAND_MONITOR_BITS || command == COMMAND_MONITOR_WORDS)
		stream->answer_1e = stream->monitor_1e[command - COMMAND_MONITOR_BITS];
}

static void answer_passed_1e(struct mc_stream *stream, const uint8_t *bytes,
			     const struct mc_frame *frame)
{
	uint32_t complete = COMPLETE_NORMAL;

	stream->outstanding_1e = false;
	if (!stream->registering_1e || !field_1e(bytes, frame->code, 1, 1, &complete))
		return;
	if (complete == COMPLETE_NORMAL)
		stream->monitor_1e[stream->command_1e - COMMAND_REGISTER_BITS] =
			stream->registering_1e;
	stream->registering_1e = 0;
}

/* --- both ------------------------------------------------------------------------------------ */

/* Whether what is there of the subheader is that of this envelope. */
static bool begins_as(const char *subheader, size_t length, const uint8_t *bytes, size_t size)
{
	return memcmp(subheader, bytes, smaller(length, size)) == 0;
}

static enum mc_split split_request(const struct mc_stream *stream, const uint8_t *bytes,
				   size_t size, size_t frame_max, struct mc_frame *frame)
{
	for (size_t i = 0; i < ARRAY_SIZE(ENVELOPES); i++) {
		const struct envelope *envelope = &ENVELOPES[i];

		if (!begins_as(envelope->request, envelope->subheader, bytes, size))
			continue;
		if (size >= envelope->subheader)
			return split_envelope(envelope, MC_REQUEST, bytes, size, frame_max, frame);
		/* "50" or "54" are still open: the 3E row stands first and needs less. */
		return more(frame, envelope->header, frame_max);
	}
	if (bytes[0] == '0' || bytes[0] == '1' || bytes[0] == '6')
		return split_request_1e(stream, MC_CODE_ASCII, bytes, size, frame_max, frame);
	return split_request_1e(stream, MC_CODE_BINARY, bytes, size, frame_max, frame);
}

static enum mc_split split_answer(const struct mc_stream *stream, const uint8_t *bytes, size_t size,
				  size_t frame_max, struct mc_frame *frame)
{
	if (stream->family == MC_FAMILY_1E)
		return split_answer_1e(stream, bytes, size, frame_max, frame);
	for (size_t i = 0; i < ARRAY_SIZE(ENVELOPES); i++) {
		const struct envelope *envelope = &ENVELOPES[i];

		if (envelope->family != stream->family || envelope->code != stream->code)
			continue;
		if (!begins_as(envelope->answer, envelope->subheader, bytes, size))
			return MC_SPLIT_BAD;
		return split_envelope(envelope, MC_ANSWER, bytes, size, frame_max, frame);
	}
	return MC_SPLIT_BAD; /* nothing was asked */
}

enum mc_split mc_stream_split(const struct mc_stream *stream, enum mc_direction direction,
			      const uint8_t *bytes, size_t size, size_t frame_max,
			      struct mc_frame *frame)
{
	*frame = (struct mc_frame){.family = MC_FAMILY_NONE};
	if (size == 0)
		return more(frame, 1, frame_max);
	if (direction == MC_ANSWER)
		return split_answer(stream, bytes, size, frame_max, frame);
	/* Any request, not only a 1E one: its answer would be taken for the one still owed. */
	if (stream->outstanding_1e)
		return MC_SPLIT_WAIT;
	return split_request(stream, bytes, size, frame_max, frame);
}

size_t mc_stream_answer_head(const struct mc_stream *stream)
{
	if (stream->family == MC_FAMILY_1E)
		return wire_size((enum mc_code)stream->code, HEAD_ANSWER_1E);
	for (size_t i = 0; i < ARRAY_SIZE(ENVELOPES); i++)
		if (ENVELOPES[i].family == stream->family && ENVELOPES[i].code == stream->code)
			return ENVELOPES[i].header;
	return 1;
}

void mc_stream_passed(struct mc_stream *stream, enum mc_direction direction, const uint8_t *bytes,
		      const struct mc_frame *frame)
{
	if (direction == MC_REQUEST) {
		stream->family = (uint8_t)frame->family;
		stream->code = (uint8_t)frame->code;
		if (frame->family == MC_FAMILY_1E)
			request_passed_1e(stream, bytes, frame);
		return;
	}
	if (frame->family == MC_FAMILY_1E)
		answer_passed_1e(stream, bytes, frame);
}

const char *mc_stream_foreign(const uint8_t *bytes, size_t size)
{
	static const struct {
		const char *begins;
		size_t size;
		const char *name;
	} KINDS[] = {
		{"\x57\x00", 2, "MELSOFT (GX Works, GOT); it needs a port with protocol = opaque"},
		{"\x57\x01", 2, "MELSOFT (GX Works, GOT); it needs a port with protocol = opaque"},
		{"\xd7\x00", 2, "a MELSOFT answer"},
		{"GET ", 4, "HTTP"},
		{"POST", 4, "HTTP"},
	};

	for (size_t i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]); i++)
		if (size >= KINDS[i].size && memcmp(bytes, KINDS[i].begins, KINDS[i].size) == 0)
			return KINDS[i].name;
	return NULL;
}
