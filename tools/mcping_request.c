/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works: a table gives each kind of request its command in 3E/4E and in 1E, and the
 * function that writes its data; mc_frame.h puts the frame around. 1E differs in layout for
 * devices (number before code, one byte of points) and is written by functions of its own.
 *
 * Source: MELSEC Communication Protocol Reference Manual; FX3U-ENET-ADP User's Manual (1E).
 */
#include "mcping_request.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

#define MODEL_NAME_SIZE 16

typedef void (*put_data)(struct mc_writer *writer, const struct request_style *style,
			 const struct request *request);

/* --- data of device requests ------------------------------------------------------------------ */

/* Binary: two points a byte, the first in the high nibble. ASCII: one character a point. */
static void put_bits(struct mc_writer *writer, const struct request_style *style,
		     const struct request *request)
{
	/* 1E ASCII fills an odd count up with one '0' (FX3U-ENET-ADP manual); binary always does.
	 */
	bool even = writer->code == MC_CODE_BINARY || style->family == MC_FAMILY_1E;

	for (uint32_t i = 0; i < request->points; i += 2) {
		bool second = i + 1 < request->points;
		uint32_t low = second ? request->values[i + 1] : 0;
		char text[2] = {request->values[i] ? '1' : '0', low ? '1' : '0'};

		if (writer->code == MC_CODE_BINARY)
			mc_writer_number(writer, (request->values[i] ? 0x10u : 0) | (low ? 1u : 0),
					 1);
		else
			mc_writer_raw(writer, text, second || even ? 2 : 1);
	}
}

static void put_values(struct mc_writer *writer, const struct request_style *style,
		       const struct request *request)
{
	if (request->bits) {
		put_bits(writer, style, request);
		return;
	}
	for (uint32_t i = 0; i < request->points; i++)
		mc_writer_number(writer, request->values[i], 2);
}

static void put_span(struct mc_writer *writer, const struct request_style *style,
		     const struct request *request)
{
	if (style->family == MC_FAMILY_1E) {
		mc_device_write_1e(writer, request->device, request->number);
		mc_writer_number(writer, request->points & 0xff, 1); /* 256 points are written 0 */
		mc_writer_number(writer, 0, 1);
		return;
	}
	mc_device_write(writer, style->long_form ? MC_DEVICE_LONG : MC_DEVICE_SHORT,
			request->device, request->number);
	mc_writer_number(writer, request->points, 2);
}

static void put_write(struct mc_writer *writer, const struct request_style *style,
		      const struct request *request)
{
	put_span(writer, style, request);
	put_values(writer, style, request);
}

/* --- data of the others ----------------------------------------------------------------------- */

/* Length and characters. 1E: a length of one byte, and in ASCII code two digits a character. */
static void put_text(struct mc_writer *writer, const struct request_style *style,
		     const struct request *request)
{
	size_t length = strlen(request->text);

	if (style->family != MC_FAMILY_1E) {
		mc_writer_number(writer, (uint32_t)length, 2);
		mc_writer_raw(writer, request->text, length);
		return;
	}
	mc_writer_number(writer, (uint32_t)length, 1);
	for (size_t i = 0; i < length; i++)
		mc_writer_number(writer, (uint8_t)request->text[i], 1);
}

static void put_run(struct mc_writer *writer, const struct request_style *style,
		    const struct request *request)
{
	if (style->family == MC_FAMILY_1E)
		return;
	mc_writer_number(writer, request->force ? 3 : 1, 2);
	mc_writer_number(writer, request->clear, 1);
	mc_writer_number(writer, 0, 1);
}

static void put_pause(struct mc_writer *writer, const struct request_style *style,
		      const struct request *request)
{
	(void)style;
	mc_writer_number(writer, request->force ? 3 : 1, 2);
}

/* STOP, latch clear and RESET know one mode only. */
static void put_mode(struct mc_writer *writer, const struct request_style *style,
		     const struct request *request)
{
	(void)request;
	if (style->family != MC_FAMILY_1E)
		mc_writer_number(writer, 1, 2);
}

/* --- the frame -------------------------------------------------------------------------------- */

#define NOT_IN_1E 0xffff

/* 1E has separate commands for bits (listed) and words (one more). */
static const struct row {
	uint16_t command;
	uint16_t command_1e;
	bool by_units; /* bit units: other subcommand, other 1E command */
	put_data put;
} rows[] = {
	[REQUEST_READ] = {0x0401, 0x00, true, put_span},
	[REQUEST_WRITE] = {0x1401, 0x02, true, put_write},
	[REQUEST_MODEL] = {0x0101, 0x15, false, NULL},
	[REQUEST_SELFTEST] = {0x0619, 0x16, false, put_text},
	[REQUEST_UNLOCK] = {0x1630, NOT_IN_1E, false, put_text},
	[REQUEST_LOCK] = {0x1631, NOT_IN_1E, false, put_text},
	[REQUEST_RUN] = {0x1001, 0x13, false, put_run},
	[REQUEST_STOP] = {0x1002, 0x14, false, put_mode},
	[REQUEST_PAUSE] = {0x1003, NOT_IN_1E, false, put_pause},
	[REQUEST_LATCH_CLEAR] = {0x1005, NOT_IN_1E, false, put_mode},
	[REQUEST_RESET] = {0x1006, NOT_IN_1E, false, put_mode},
};

static void set_command(struct mc_request *frame, const struct row *row,
			const struct request_style *style, const struct request *request)
{
	if (style->family == MC_FAMILY_1E) {
		frame->command = (uint16_t)(row->command_1e + (row->by_units && !request->bits));
		return;
	}
	frame->command = row->command;
	if (row->by_units)
		frame->subcommand =
			(uint16_t)((request->bits ? 1 : 0) | (style->long_form ? 2 : 0));
}

static bool fits(const struct row *row, const struct request_style *style,
		 const struct request *request)
{
	if (style->family != MC_FAMILY_1E)
		return request->points <= UINT16_MAX;
	if (request->text && strlen(request->text) > UINT8_MAX)
		return false;
	return row->command_1e != NOT_IN_1E && request->points <= 256;
}

size_t request_put(const struct request_style *style, const struct request *request, uint8_t *out,
		   size_t size)
{
	const struct row *row = &rows[request->kind];
	struct mc_request frame = {.family = style->family,
				   .code = style->code,
				   .route = style->route,
				   .timer = style->timer};
	struct mc_writer serial = {.code = style->code, .at = frame.serial, .left = 4};
	/* The data is written where the longest header leaves it; the encoder moves it up. */
	struct mc_writer writer = {.code = style->code, .at = out + MC_FRAME_OVERHEAD};

	if (!fits(row, style, request) || size < MC_FRAME_OVERHEAD)
		return 0;
	writer.left = size - MC_FRAME_OVERHEAD;
	mc_writer_number(&serial, style->serial, 2);
	set_command(&frame, row, style, request);
	if (row->put)
		row->put(&writer, style, request);
	if (writer.error)
		return 0;
	frame.data = out + MC_FRAME_OVERHEAD;
	frame.data_size = (size_t)(writer.at - frame.data);
	return mc_frame_put_request(&frame, out, size);
}

/* --- answers ---------------------------------------------------------------------------------- */

static bool get_bits_binary(const struct request *request, const struct mc_answer *answer,
			    uint16_t *values)
{
	if (answer->data_size != (request->points + 1) / 2)
		return false;
	for (uint32_t i = 0; i < request->points; i++)
		values[i] = answer->data[i / 2] >> (i % 2 ? 0 : 4) & 1;
	return true;
}

static bool get_bits_ascii(const struct request *request, const struct mc_answer *answer,
			   uint16_t *values)
{
	size_t filled =
		request->points + (answer->family == MC_FAMILY_1E ? request->points % 2 : 0);

	/* 1E: whether a PLC fills an odd count up in its answer is not documented; take both. */
	if (answer->data_size != request->points && answer->data_size != filled)
		return false;
	for (uint32_t i = 0; i < request->points; i++) {
		if (answer->data[i] != '0' && answer->data[i] != '1')
			return false;
		values[i] = answer->data[i] == '1';
	}
	return true;
}

bool request_values(const struct request *request, const struct mc_answer *answer, uint16_t *values)
{
	struct mc_reader reader = {
		.code = answer->code, .at = answer->data, .left = answer->data_size};

	if (request->bits && answer->code == MC_CODE_BINARY)
		return get_bits_binary(request, answer, values);
	if (request->bits)
		return get_bits_ascii(request, answer, values);
	for (uint32_t i = 0; i < request->points && !reader.error; i++)
		values[i] = (uint16_t)mc_reader_number(&reader, 2);
	return mc_reader_done(&reader);
}

bool request_model(const struct mc_answer *answer, char *name, uint16_t *model_code)
{
	struct mc_reader reader = {
		.code = answer->code, .at = answer->data, .left = answer->data_size};
	const uint8_t *text;
	size_t length = MODEL_NAME_SIZE;

	name[0] = '\0';
	if (answer->family == MC_FAMILY_1E) {
		*model_code = (uint16_t)mc_reader_number(&reader, 1);
		mc_reader_number(&reader, 1);
		return mc_reader_done(&reader);
	}
	text = mc_reader_raw(&reader, MODEL_NAME_SIZE);
	*model_code = (uint16_t)mc_reader_number(&reader, 2);
	if (!text || !mc_reader_done(&reader))
		return false;
	while (length > 0 && text[length - 1] == ' ')
		length--;
	for (size_t i = 0; i < length; i++)
		name[i] = (char)(isprint(text[i]) ? text[i] : '?');
	name[length] = '\0';
	return true;
}

bool request_echoed(const struct request *request, const struct mc_answer *answer)
{
	struct mc_reader reader = {
		.code = answer->code, .at = answer->data, .left = answer->data_size};
	size_t length = strlen(request->text);
	bool short_form = answer->family == MC_FAMILY_1E;
	bool same = mc_reader_number(&reader, short_form ? 1 : 2) == length;

	for (size_t i = 0; i < length && same && !reader.error; i++) {
		const uint8_t *raw = short_form ? NULL : mc_reader_raw(&reader, 1);
		uint32_t character = raw ? *raw : mc_reader_number(&reader, 1);

		same = character == (uint8_t)request->text[i];
	}
	return same && mc_reader_done(&reader);
}
