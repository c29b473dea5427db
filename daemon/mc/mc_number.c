/* SPDX-License-Identifier: Apache-2.0 */
#include "mc/mc_number.h"

#include <string.h>

static int hex_digit(uint8_t character)
{
	if (character >= '0' && character <= '9')
		return character - '0';
	if (character >= 'A' && character <= 'F')
		return character - 'A' + 10;
	if (character >= 'a' && character <= 'f')
		return character - 'a' + 10;
	return -1;
}

bool mc_number_from_hex(const uint8_t *text, size_t digits, uint32_t *value)
{
	uint32_t number = 0;

	for (size_t i = 0; i < digits; i++) {
		int digit = hex_digit(text[i]);

		if (digit < 0)
			return false;
		number = number << 4 | (uint32_t)digit;
	}
	*value = number;
	return true;
}

void mc_number_to_hex(uint8_t *text, size_t digits, uint32_t value)
{
	for (size_t i = digits; i > 0; i--) {
		text[i - 1] = (uint8_t) "0123456789ABCDEF"[value & 0xf];
		value >>= 4;
	}
}

const uint8_t *mc_reader_raw(struct mc_reader *reader, size_t size)
{
	const uint8_t *start = reader->at;

	if (reader->error)
		return NULL;
	if (size > reader->left) {
		reader->error = MC_NUMBER_SHORT;
		return NULL;
	}
	reader->at += size;
	reader->left -= size;
	return start;
}

uint32_t mc_reader_number(struct mc_reader *reader, size_t bytes)
{
	size_t size = reader->code == MC_CODE_ASCII ? 2 * bytes : bytes;
	const uint8_t *start = mc_reader_raw(reader, size);
	uint32_t value = 0;

	if (!start)
		return 0;
	if (reader->code == MC_CODE_ASCII) {
		if (!mc_number_from_hex(start, size, &value))
			reader->error = MC_NUMBER_DIGIT;
		return value;
	}
	for (size_t i = bytes; i > 0; i--)
		value = value << 8 | start[i - 1];
	return value;
}

bool mc_reader_done(const struct mc_reader *reader)
{
	return !reader->error && reader->left == 0;
}

static uint8_t *writer_room(struct mc_writer *writer, size_t size)
{
	uint8_t *start = writer->at;

	if (writer->error)
		return NULL;
	if (size > writer->left) {
		writer->error = MC_NUMBER_SHORT;
		return NULL;
	}
	writer->at += size;
	writer->left -= size;
	return start;
}

void mc_writer_raw(struct mc_writer *writer, const void *bytes, size_t size)
{
	uint8_t *start = writer_room(writer, size);

	/* An answer may be built where its data already lies. */
	if (start && size)
		memmove(start, bytes, size);
}

void mc_writer_number(struct mc_writer *writer, uint32_t value, size_t bytes)
{
	size_t size = writer->code == MC_CODE_ASCII ? 2 * bytes : bytes;
	uint8_t *start = writer_room(writer, size);

	if (!start)
		return;
	if (writer->code == MC_CODE_ASCII) {
		mc_number_to_hex(start, size, value);
		return;
	}
	for (size_t i = 0; i < bytes; i++) {
		start[i] = (uint8_t)value;
		value >>= 8;
	}
}
