/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the PLC of a measurement holds, and the 3E binary frames that ask for it.
 *
 * Device D<n> holds pattern_word(n): every word of a PLC is different, so that an answer from the
 * wrong place, another client's answer or one that is a request too late cannot pass for the right
 * one. Source of the frames: MELSEC Communication Protocol Reference Manual, batch read and write.
 */
#ifndef BENCH_PATTERN_H
#define BENCH_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATTERN_WORDS     65536u /* D0 to D65535 */
#define PATTERN_READ_MAX  960u   /* words that one request may read or write */
#define PATTERN_READ_SIZE 21     /* bytes of a read request */
#define PATTERN_HEAD_SIZE 11     /* bytes of an answer before its data: header and end code */
#define PATTERN_WRITE_MAX (PATTERN_READ_SIZE + 2 * PATTERN_READ_MAX)

static inline uint16_t pattern_word(uint32_t number)
{
	/* Odd: multiplying by it moves all 65,536 words about without making two of them equal. */
	return (uint16_t)(number * 40503u + 4711u);
}

/* All words as they stand in an answer; zero-initialise with pattern_init(). */
struct pattern {
	/* And some beyond the end, where a read that starts before it goes on. */
	uint8_t bytes[2 * (PATTERN_WORDS + PATTERN_READ_MAX)];
};

void pattern_init(struct pattern *pattern);
static inline const uint8_t *pattern_data(const struct pattern *pattern, uint32_t number)
{
	return pattern->bytes + (size_t)2 * number;
}

/* Reads `words` from D`number`; PATTERN_READ_SIZE bytes. */
void pattern_put_read(uint8_t *request, uint32_t number, uint16_t words);
/* The other way round: false if these are not the bytes of such a request. */
bool pattern_get_read(const uint8_t *request, uint32_t *number, uint16_t *words);
/* Header and end code of a normal answer with `words`; PATTERN_HEAD_SIZE bytes. */
void pattern_put_head(uint8_t *answer, uint16_t words);
/* Writes the pattern to `words` from D`number`; returns the size, at most PATTERN_WRITE_MAX. */
size_t pattern_put_write(const struct pattern *pattern, uint8_t *request, uint32_t number,
			 uint16_t words);

#endif
