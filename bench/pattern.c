/* SPDX-License-Identifier: Apache-2.0 */
#include "pattern.h"

#include <string.h>

#include "base/bytes.h"

#define DEVICE_D 0xa8

/* Subheader and route of the own station, as far as the data length. */
static const uint8_t request_head[] = {0x50, 0x00, 0x00, 0xff, 0xff, 0x03, 0x00};
static const uint8_t answer_head[] = {0xd0, 0x00, 0x00, 0xff, 0xff, 0x03, 0x00};
/* Timer 4 s, command 0401 or 1401, subcommand 0000. */
static const uint8_t read_command[] = {0x10, 0x00, 0x01, 0x04, 0x00, 0x00};
static const uint8_t write_command[] = {0x10, 0x00, 0x01, 0x14, 0x00, 0x00};

void pattern_init(struct pattern *pattern)
{
	for (uint32_t i = 0; i < sizeof(pattern->bytes) / 2; i++)
		put_le16(pattern->bytes + (size_t)2 * i, pattern_word(i));
}

static void put_request(uint8_t *request, const uint8_t *command, uint32_t number, uint16_t words,
			size_t data)
{
	memcpy(request, request_head, sizeof(request_head));
	put_le16(request + 7, (uint16_t)(12 + data));
	memcpy(request + 9, command, sizeof(read_command));
	put_le24(request + 15, number);
	request[18] = DEVICE_D;
	put_le16(request + 19, words);
}

void pattern_put_read(uint8_t *request, uint32_t number, uint16_t words)
{
	put_request(request, read_command, number, words, 0);
}

bool pattern_get_read(const uint8_t *request, uint32_t *number, uint16_t *words)
{
	*number = get_le24(request + 15);
	*words = get_le16(request + 19);
	return memcmp(request, request_head, sizeof(request_head)) == 0 &&
	       get_le16(request + 7) == 12 &&
	       memcmp(request + 9, read_command, sizeof(read_command)) == 0 &&
	       request[18] == DEVICE_D && *number < PATTERN_WORDS && *words >= 1 &&
	       *words <= PATTERN_READ_MAX;
}

void pattern_put_head(uint8_t *answer, uint16_t words)
{
	memcpy(answer, answer_head, sizeof(answer_head));
	put_le16(answer + 7, (uint16_t)(2 + 2 * words));
	put_le16(answer + 9, 0);
}

size_t pattern_put_write(const struct pattern *pattern, uint8_t *request, uint32_t number,
			 uint16_t words)
{
	put_request(request, write_command, number, words, (size_t)2 * words);
	memcpy(request + PATTERN_READ_SIZE, pattern_data(pattern, number), (size_t)2 * words);
	return PATTERN_READ_SIZE + (size_t)2 * words;
}
