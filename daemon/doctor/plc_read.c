/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/plc_read.h"

#include "mc/mc_number.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define READ_WORDS    0x0401
#define READ_WORDS_1E 0x01
#define CPU_STATE     203 /* of SD */
#define TIMER         4   /* 250 ms units */
#define FRAME_MAX     256

/* MELSEC Communication Protocol Reference Manual: batch read in word units. */
static size_t put_data(const struct plc_read *read, uint8_t *data, size_t size)
{
	struct mc_writer writer = {.code = read->code, .at = data, .left = size};

	if (read->family == MC_FAMILY_1E) {
		mc_writer_number(&writer, 0, 4);
		mc_writer_number(&writer, 0x4420, 2); /* D */
		mc_writer_number(&writer, 1, 1);
		mc_writer_number(&writer, 0, 1);
	} else if (read->code == MC_CODE_ASCII) {
		mc_writer_raw(&writer, "SD000203", 8);
		mc_writer_number(&writer, 1, 2);
	} else {
		mc_writer_number(&writer, CPU_STATE, 3);
		mc_writer_number(&writer, 0xa9, 1); /* SD */
		mc_writer_number(&writer, 1, 2);
	}
	return size - writer.left;
}

static size_t put_request(const struct plc_read *read, uint8_t *frame, size_t size)
{
	uint8_t data[32];
	const struct mc_request request = {
		.family = read->family,
		.code = read->code,
		.route = MC_ROUTE_OWN,
		.timer = TIMER,
		.command = read->family == MC_FAMILY_1E ? READ_WORDS_1E : READ_WORDS,
		.data = data,
		.data_size = put_data(read, data, sizeof(data)),
	};

	return mc_frame_put_request(&request, frame, size);
}

static int refuse(struct connection *connection, int error, const char *why)
{
	snprintf(connection->reason, sizeof(connection->reason), "%s", why);
	return error;
}

static int take(struct plc_read *read, const uint8_t *bytes, size_t length)
{
	struct mc_answer answer;
	struct mc_reader reader;

	if (mc_frame_parse_answer(bytes, length, read->code, &answer) < 0)
		return -EPROTO;
	reader =
		(struct mc_reader){.code = read->code, .at = answer.data, .left = answer.data_size};
	read->end_code = answer.end_code;
	read->value = answer.end_code == 0 ? (uint16_t)mc_reader_number(&reader, 2) : 0;
	return reader.error == MC_NUMBER_OK ? 0 : -EPROTO;
}

static int receive(struct plc_read *read, struct connection *connection,
		   const struct mc_stream *stream, clock_us deadline)
{
	uint8_t bytes[FRAME_MAX];
	struct mc_frame frame;
	size_t have = 0;
	ssize_t got;

	for (;;) {
		got = connection_receive(connection, bytes + have, sizeof(bytes) - have, deadline);
		if (got == 0)
			return refuse(connection, -ECONNRESET,
				      "the connection was closed instead of an answer");
		if (got < 0)
			return (int)got;
		have += (size_t)got;
		switch (mc_stream_split(stream, MC_ANSWER, bytes, have, sizeof(bytes), &frame)) {
		case MC_SPLIT_FRAME:
			if (take(read, bytes, frame.length) == 0)
				return 0;
			return refuse(connection, -EPROTO, "the answer is no MC answer");
		case MC_SPLIT_MORE:
			if (have < sizeof(bytes))
				break;
			/* fall through */
		default:
			return refuse(connection, -EPROTO, "the answer is no MC answer");
		}
	}
}

int plc_read_ask(struct plc_read *read, struct connection *connection, clock_us deadline)
{
	uint8_t bytes[FRAME_MAX];
	size_t size = put_request(read, bytes, sizeof(bytes));
	struct mc_stream stream = {.family = 0};
	struct mc_frame frame;
	int error;

	if (mc_stream_split(&stream, MC_REQUEST, bytes, size, sizeof(bytes), &frame) !=
	    MC_SPLIT_FRAME)
		return refuse(connection, -EINVAL, "cannot make the request");
	mc_stream_passed(&stream, MC_REQUEST, bytes, &frame);
	error = connection_send(connection, bytes, size, deadline);
	return error < 0 ? error : receive(read, connection, &stream, deadline);
}
