/* SPDX-License-Identifier: Apache-2.0 */
#include "mc/mc_frame.h"
#include "mc/mc_number.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	SUBHEADER_REQUEST_3E = 0x5000,
	SUBHEADER_REQUEST_4E = 0x5400,
	SUBHEADER_ANSWER = 0x8000, /* added in an answer */
	ANSWER_1E = 0x80,          /* the same in 1E, which has a command byte instead */
	COMPLETE_WITH_ABNORMAL = 0x5b,
	ERROR_BLOCK_BYTES = 9,
	LENGTH_MAX = 65535,
};

/*
 * The subheader is the one number that is big-endian in binary code. Direction tells which ones
 * are possible, and the first character of an ASCII 3E/4E frame is then unique to it.
 */
static bool read_subheader(const uint8_t *bytes, size_t length, uint32_t answer_bit,
			   struct mc_reader *reader, enum mc_family *family)
{
	uint32_t subheader;

	*reader = (struct mc_reader){.at = bytes, .left = length};
	if (length < 4)
		return false;
	if (bytes[0] == (answer_bit ? 'D' : '5')) {
		reader->code = MC_CODE_ASCII;
		subheader = mc_reader_number(reader, 2);
	} else {
		reader->code = MC_CODE_BINARY;
		subheader = mc_reader_number(reader, 1) << 8;
		subheader |= mc_reader_number(reader, 1);
	}
	if (subheader == (SUBHEADER_REQUEST_3E | answer_bit))
		*family = MC_FAMILY_3E;
	else if (subheader == (SUBHEADER_REQUEST_4E | answer_bit))
		*family = MC_FAMILY_4E;
	else
		return false;
	return true;
}

static size_t serial_size(enum mc_code code)
{
	return code == MC_CODE_ASCII ? 4 : 2;
}

static void read_serial(struct mc_reader *reader, uint8_t *serial)
{
	const uint8_t *bytes = mc_reader_raw(reader, serial_size(reader->code));

	if (bytes)
		memcpy(serial, bytes, serial_size(reader->code));
	mc_reader_number(reader, 2); /* reserved */
}

static void read_route(struct mc_reader *reader, struct mc_route *route)
{
	route->network = (uint8_t)mc_reader_number(reader, 1);
	route->pc = (uint8_t)mc_reader_number(reader, 1);
	route->module = (uint16_t)mc_reader_number(reader, 2);
	route->station = (uint8_t)mc_reader_number(reader, 1);
}

static int parse_request_1e(const uint8_t *bytes, size_t length, struct mc_request *request)
{
	/* '0', '1', '6' begin ASCII commands; binary commands 30, 31, 36 do not exist. */
	bool ascii = length > 0 && (bytes[0] == '0' || bytes[0] == '1' || bytes[0] == '6');
	struct mc_reader reader = {
		.code = ascii ? MC_CODE_ASCII : MC_CODE_BINARY, .at = bytes, .left = length};

	request->family = MC_FAMILY_1E;
	request->code = reader.code;
	request->command = (uint16_t)mc_reader_number(&reader, 1);
	request->route.pc = (uint8_t)mc_reader_number(&reader, 1);
	request->timer = (uint16_t)mc_reader_number(&reader, 2);
	request->data = reader.at;
	request->data_size = reader.left;
	return reader.error ? -EBADMSG : 0;
}

int mc_frame_parse_request(const uint8_t *bytes, size_t length, struct mc_request *request)
{
	struct mc_reader reader;
	uint32_t data_length;

	*request = (struct mc_request){.family = MC_FAMILY_NONE};
	if (!read_subheader(bytes, length, 0, &reader, &request->family))
		return parse_request_1e(bytes, length, request);
	request->code = reader.code;
	if (request->family == MC_FAMILY_4E)
		read_serial(&reader, request->serial);
	read_route(&reader, &request->route);
	data_length = mc_reader_number(&reader, 2);
	if (data_length != reader.left)
		return -EBADMSG;
	request->timer = (uint16_t)mc_reader_number(&reader, 2);
	request->command = (uint16_t)mc_reader_number(&reader, 2);
	request->subcommand = (uint16_t)mc_reader_number(&reader, 2);
	request->data = reader.at;
	request->data_size = reader.left;
	return reader.error ? -EBADMSG : 0;
}

static int parse_answer_1e(const uint8_t *bytes, size_t length, enum mc_code code,
			   struct mc_answer *answer)
{
	struct mc_reader reader = {.code = code, .at = bytes, .left = length};
	uint32_t command = mc_reader_number(&reader, 1);

	answer->family = MC_FAMILY_1E;
	answer->code = code;
	answer->command_1e = (uint8_t)(command & 0x7f);
	answer->end_code = (uint16_t)mc_reader_number(&reader, 1);
	if (reader.error || !(command & ANSWER_1E))
		return -EBADMSG;
	if (answer->end_code == COMPLETE_WITH_ABNORMAL) {
		answer->abnormal_code = (uint8_t)mc_reader_number(&reader, 1);
		mc_reader_number(&reader, 1);
		answer->has_error_block = true;
	}
	answer->data = reader.at;
	answer->data_size = reader.left;
	return reader.error ? -EBADMSG : 0;
}

static void read_error_block(struct mc_reader *reader, struct mc_answer *answer)
{
	size_t size = reader->code == MC_CODE_ASCII ? 2 * ERROR_BLOCK_BYTES : ERROR_BLOCK_BYTES;

	if (reader->left < size)
		return;
	answer->has_error_block = true;
	read_route(reader, &answer->error_route);
	answer->error_command = (uint16_t)mc_reader_number(reader, 2);
	answer->error_subcommand = (uint16_t)mc_reader_number(reader, 2);
}

int mc_frame_parse_answer(const uint8_t *bytes, size_t length, enum mc_code code,
			  struct mc_answer *answer)
{
	struct mc_reader reader;
	uint32_t data_length;

	*answer = (struct mc_answer){.family = MC_FAMILY_NONE};
	if (!read_subheader(bytes, length, SUBHEADER_ANSWER, &reader, &answer->family))
		return parse_answer_1e(bytes, length, code, answer);
	answer->code = reader.code;
	if (answer->family == MC_FAMILY_4E)
		read_serial(&reader, answer->serial);
	read_route(&reader, &answer->route);
	data_length = mc_reader_number(&reader, 2);
	if (data_length != reader.left)
		return -EBADMSG;
	answer->end_code = (uint16_t)mc_reader_number(&reader, 2);
	if (answer->end_code)
		read_error_block(&reader, answer);
	answer->data = reader.at;
	answer->data_size = reader.left;
	return reader.error ? -EBADMSG : 0;
}

/* --- encoding -------------------------------------------------------------------------------- */

static void put_route(struct mc_writer *writer, const struct mc_route *route)
{
	mc_writer_number(writer, route->network, 1);
	mc_writer_number(writer, route->pc, 1);
	mc_writer_number(writer, route->module, 2);
	mc_writer_number(writer, route->station, 1);
}

/* Subheader to data length. */
static void put_header(struct mc_writer *writer, const struct mc_request *request,
		       uint32_t answer_bit, size_t data_length)
{
	uint32_t subheader =
		request->family == MC_FAMILY_4E ? SUBHEADER_REQUEST_4E : SUBHEADER_REQUEST_3E;

	subheader |= answer_bit;
	mc_writer_number(writer, subheader >> 8, 1);
	mc_writer_number(writer, subheader & 0xff, 1);
	if (request->family == MC_FAMILY_4E) {
		mc_writer_raw(writer, request->serial, serial_size(request->code));
		mc_writer_number(writer, 0, 2);
	}
	put_route(writer, &request->route);
	if (data_length > LENGTH_MAX)
		writer->error = MC_NUMBER_SHORT;
	mc_writer_number(writer, (uint32_t)data_length, 2);
}

static size_t wire_size(enum mc_code code, size_t binary)
{
	return code == MC_CODE_ASCII ? 2 * binary : binary;
}

static size_t header_size(const struct mc_request *request)
{
	size_t route_and_length = 7;
	size_t serial = request->family == MC_FAMILY_4E ? 4 : 0;

	return wire_size(request->code, 2 + serial + route_and_length);
}

/*
 * Puts the data, which may lie anywhere in `out`, behind `before` bytes that are still to be
 * written, so that writing them cannot overwrite it. Returns the frame's size, 0 = no room.
 */
static size_t place_data(const uint8_t *data, size_t data_size, size_t before, uint8_t *out,
			 size_t size)
{
	if (before > size || data_size > size - before)
		return 0;
	if (data_size)
		memmove(out + before, data, data_size);
	return before + data_size;
}

static struct mc_writer writer_at(enum mc_code code, uint8_t *out, size_t size)
{
	return (struct mc_writer){.code = code, .at = out, .left = size};
}

size_t mc_frame_put_request(const struct mc_request *request, uint8_t *out, size_t size)
{
	enum mc_code code = request->code;
	bool is_1e = request->family == MC_FAMILY_1E;
	size_t fixed = wire_size(code, is_1e ? 4 : 6);
	size_t before = is_1e ? fixed : header_size(request) + fixed;
	size_t total = place_data(request->data, request->data_size, before, out, size);
	struct mc_writer writer = writer_at(code, out, before);

	if (!total)
		return 0;
	if (is_1e) {
		mc_writer_number(&writer, request->command, 1);
		mc_writer_number(&writer, request->route.pc, 1);
		mc_writer_number(&writer, request->timer, 2);
		return total;
	}
	put_header(&writer, request, 0, fixed + request->data_size);
	mc_writer_number(&writer, request->timer, 2);
	mc_writer_number(&writer, request->command, 2);
	mc_writer_number(&writer, request->subcommand, 2);
	return writer.error ? 0 : total;
}

size_t mc_frame_put_answer(const struct mc_request *request, const uint8_t *data, size_t data_size,
			   uint8_t *out, size_t size)
{
	enum mc_code code = request->code;
	bool is_1e = request->family == MC_FAMILY_1E;
	size_t fixed = wire_size(code, 2);
	size_t before = is_1e ? fixed : header_size(request) + fixed;
	size_t total = place_data(data, data_size, before, out, size);
	struct mc_writer writer = writer_at(code, out, before);

	if (!total)
		return 0;
	if (is_1e) {
		mc_writer_number(&writer, request->command | ANSWER_1E, 1);
		mc_writer_number(&writer, 0, 1);
		return total;
	}
	put_header(&writer, request, SUBHEADER_ANSWER, fixed + data_size);
	mc_writer_number(&writer, 0, 2);
	return writer.error ? 0 : total;
}

static size_t put_error_1e(const struct mc_request *request, uint16_t complete,
			   uint8_t abnormal_code, uint8_t *out, size_t size)
{
	struct mc_writer writer = writer_at(request->code, out, size);

	mc_writer_number(&writer, request->command | ANSWER_1E, 1);
	mc_writer_number(&writer, complete, 1);
	if (complete == COMPLETE_WITH_ABNORMAL) {
		mc_writer_number(&writer, abnormal_code, 1);
		mc_writer_number(&writer, 0, 1);
	}
	return writer.error ? 0 : size - writer.left;
}

size_t mc_frame_put_error(const struct mc_request *request, uint16_t end_code,
			  uint8_t abnormal_code, uint8_t *out, size_t size)
{
	struct mc_writer writer = writer_at(request->code, out, size);

	if (request->family == MC_FAMILY_1E)
		return put_error_1e(request, end_code, abnormal_code, out, size);
	put_header(&writer, request, SUBHEADER_ANSWER,
		   wire_size(request->code, 2 + ERROR_BLOCK_BYTES));
	mc_writer_number(&writer, end_code, 2);
	put_route(&writer, &request->route);
	mc_writer_number(&writer, request->command, 2);
	mc_writer_number(&writer, request->subcommand, 2);
	return writer.error ? 0 : size - writer.left;
}

const char *mc_frame_route_print(const struct mc_route *route, char *text)
{
	snprintf(text, MC_ROUTE_TEXT_SIZE, "%02X-%02X-%04X-%02X", route->network, route->pc,
		 route->module, route->station);
	return text;
}

/* Digits and a dash, or the end of the text, behind them. */
static bool route_part(const char **text, size_t digits, char behind, uint16_t *part)
{
	if (strspn(*text, "0123456789abcdefABCDEF") != digits || (*text)[digits] != behind)
		return false;
	*part = (uint16_t)strtoul(*text, NULL, 16);
	*text += digits + 1;
	return true;
}

int mc_frame_route_parse(const char *text, struct mc_route *route)
{
	uint16_t network, pc, module, station;

	if (!route_part(&text, 2, '-', &network) || !route_part(&text, 2, '-', &pc) ||
	    !route_part(&text, 4, '-', &module) || !route_part(&text, 2, '\0', &station))
		return -EINVAL;
	*route = (struct mc_route){(uint8_t)network, (uint8_t)pc, module, (uint8_t)station};
	return 0;
}

bool mc_frame_route_equal(const struct mc_route *a, const struct mc_route *b)
{
	return a->network == b->network && a->pc == b->pc && a->module == b->module &&
	       a->station == b->station;
}

const char *mc_frame_family_name(enum mc_family family)
{
	switch (family) {
	case MC_FAMILY_1E:
		return "1E";
	case MC_FAMILY_3E:
		return "3E";
	case MC_FAMILY_4E:
		return "4E";
	case MC_FAMILY_NONE:
		break;
	}
	return "-";
}

const char *mc_frame_code_name(enum mc_code code)
{
	return code == MC_CODE_ASCII ? "ascii" : "binary";
}
