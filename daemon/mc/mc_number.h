/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Numbers as MC frames carry them: little-endian bytes in binary code, upper-case hexadecimal
 * text with the most significant digit first in ASCII code (two characters per byte).
 *
 * A reader or writer walks over one stretch of memory that the caller owns and keeps alive. Its
 * error is sticky: callers read or write a whole structure and look at `error` once at the end.
 */
#ifndef MCSEAL_MC_MC_NUMBER_H
#define MCSEAL_MC_MC_NUMBER_H

#include "mc/mc_stream.h"

enum mc_number_error {
	MC_NUMBER_OK,
	MC_NUMBER_SHORT, /* the bytes (reader) or the room (writer) ended */
	MC_NUMBER_DIGIT, /* ASCII code: a character that is no hexadecimal digit */
};

struct mc_reader {
	enum mc_code code;
	enum mc_number_error error;
	const uint8_t *at;
	size_t left;
};

struct mc_writer {
	enum mc_code code;
	enum mc_number_error error;
	uint8_t *at;
	size_t left;
};

/*
 * 1 to 8 hexadecimal digits to *value; false for any other character. The manual asks for upper
 * case, but the npm client mcprotocol writes lower case: both count.
 */
bool mc_number_from_hex(const uint8_t *text, size_t digits, uint32_t *value);
/* The lowest `digits` digits of value. */
void mc_number_to_hex(uint8_t *text, size_t digits, uint32_t value);

/* The next number of `bytes` (1 to 4) bytes; twice as many characters in ASCII. 0 on error. */
uint32_t mc_reader_number(struct mc_reader *reader, size_t bytes);
/* The next `size` bytes (characters in ASCII code) as they are; NULL on error. */
const uint8_t *mc_reader_raw(struct mc_reader *reader, size_t size);
/* Everything was read, nothing failed. */
bool mc_reader_done(const struct mc_reader *reader);

void mc_writer_number(struct mc_writer *writer, uint32_t value, size_t bytes);
void mc_writer_raw(struct mc_writer *writer, const void *bytes, size_t size);

#endif
