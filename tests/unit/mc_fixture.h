/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests composed field by field, in both codes, and a correct one of every command whose data
 * is known, with how much data answers it.
 */
#ifndef MCSEAL_TESTS_MC_FIXTURE_H
#define MCSEAL_TESTS_MC_FIXTURE_H

#include "mc/mc_answer.h"
#include "mc/mc_number.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

/* NOLINTNEXTLINE(bugprone-macro-parentheses): a declaration */
#define FOR_BOTH(code) for (enum mc_code code = MC_CODE_BINARY; code <= MC_CODE_ASCII; code++)

struct composed {
	struct mc_request request; /* 3E; its data: composed_end() */
	struct mc_writer writer;
	uint8_t data[16384];
};

static inline void compose(struct composed *composed, enum mc_code code, uint16_t command,
			   uint16_t subcommand)
{
	*composed = (struct composed){.request = {.family = MC_FAMILY_3E,
						  .code = code,
						  .route = MC_ROUTE_OWN,
						  .command = command,
						  .subcommand = subcommand}};
	composed->writer = (struct mc_writer){
		.code = code, .at = composed->data, .left = sizeof(composed->data)};
}

static inline void put(struct composed *composed, uint32_t value, size_t bytes)
{
	mc_writer_number(&composed->writer, value, bytes);
}

static inline void put_device(struct composed *composed, const char *text)
{
	enum mc_device_form form =
		composed->request.subcommand & 2 ? MC_DEVICE_LONG : MC_DEVICE_SHORT;
	const struct mc_device *device;
	uint32_t number;

	assert_int_equal(mc_device_parse(text, &device, &number), 0);
	mc_device_write(&composed->writer, form, device, number);
}

static inline void put_zeros(struct composed *composed, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		put(composed, 0, 1);
}

/* States of bits in a row: `count` times 0. */
static inline void put_bits(struct composed *composed, size_t count)
{
	static const uint8_t zeros[16384];
	bool ascii = composed->request.code == MC_CODE_ASCII;
	uint8_t text[16384];

	memset(text, '0', sizeof(text));
	mc_writer_raw(&composed->writer, ascii ? text : zeros, ascii ? count : (count + 1) / 2);
}

/*
 * Fields with blanks between them: "2:960" the number 960 of two bytes, "'ABC" characters, "b3"
 * states of three bits; everything else is a device.
 */
static inline void put_text(struct composed *composed, const char *text)
{
	while (*text != '\0') {
		char field[32] = "", *end;
		size_t size = strcspn(text, " ");
		unsigned long number;

		assert_true(size < sizeof(field));
		memcpy(field, text, size);
		number = strtoul(field, &end, 10);
		if (*end == ':')
			put(composed, (uint32_t)strtoul(end + 1, NULL, 10), number);
		else if (*field == '\'')
			mc_writer_raw(&composed->writer, field + 1, size - 1);
		else if (*field == 'b')
			put_bits(composed, strtoul(field + 1, NULL, 10));
		else
			put_device(composed, field);
		text += size + strspn(text + size, " ");
	}
}

/* All of its data was put. */
static inline struct mc_access composed_end(struct composed *composed)
{
	struct mc_access access;

	assert_int_equal(composed->writer.error, MC_NUMBER_OK);
	composed->request.data = composed->data;
	composed->request.data_size = sizeof(composed->data) - composed->writer.left;
	mc_access_read(&composed->request, NULL, NULL, &access);
	return access;
}

/* In an order in which a PLC carries them out one after another. */
struct mc_sample {
	uint16_t command, subcommand;
	const char *data;   /* for put_text() */
	uint16_t answer[2]; /* by enum mc_code: bytes behind end code 0000 */
	bool lacking;       /* mcplc does not have it: C059 */
};

#define MC_SAMPLE_UNKNOWN                                                                          \
	{                                                                                          \
		MC_ANSWER_ANY, MC_ANSWER_ANY                                                       \
	}

static const struct mc_sample MC_SAMPLES[] = {
	{0x0401, 0, "D100 2:1", {2, 4}, false},
	{0x0401, 0, "D100 2:960", {1920, 3840}, false},
	{0x0401, 0, "M0 2:3", {6, 12}, false},
	{0x0401, 1, "M100 2:1", {1, 1}, false},
	{0x0401, 1, "M100 2:2", {1, 2}, false},
	{0x0401, 1, "M100 2:3", {2, 3}, false},
	{0x0401, 1, "M0 2:3583", {1792, 3583}, false},
	{0x0401, 1, "M0 2:3584", {1792, 3584}, false},
	{0x0401, 2, "D100 2:2", {4, 8}, false},
	{0x0401, 3, "Y1F 2:7", {4, 7}, false},
	{0x0403, 0, "1:1 1:0 D100", {2, 4}, false},
	{0x0403, 0, "1:2 1:2 D100 M0 D102 M16", {12, 24}, false},
	{0x0403, 2, "1:1 1:2 D100 LTN0 D0", {10, 20}, false},
	{0x0406, 0, "1:1 1:2 D100 2:2 M0 2:3 X20 2:1", {12, 24}, false},
	{0x0406, 0, "1:1 1:0 D0 2:960", {1920, 3840}, false},
	{0x0406, 2, "1:0 1:1 M0 2:2", {4, 8}, false},
	{0x0613, 0, "4:16 2:3", {6, 12}, false},
	{0x0613, 0, "4:0 2:480", {960, 1920}, false},
	{0x0619, 0, "2:1 'F", {3, 5}, false},
	{0x0619, 0, "2:5 'ABCDE", {7, 9}, false},
	{0x0801, 0, "1:2 1:1 D100 D112 D7", {0, 0}, false},
	{0x0802, 0, "", MC_SAMPLE_UNKNOWN, false},
	{0x0801, 2, "1:1 1:1 D100 LTN0", {0, 0}, false},
	{0x0802, 0, "", MC_SAMPLE_UNKNOWN, false},
	{0x1401, 0, "D100 2:2 2:1 2:2", {0, 0}, false},
	{0x1401, 1, "M100 2:3 b3", {0, 0}, false},
	{0x1401, 2, "D100 2:1 2:1", {0, 0}, false},
	{0x1401, 3, "M100 2:4 b4", {0, 0}, false},
	{0x1402, 0, "1:1 1:1 D100 2:5 D102 4:7", {0, 0}, false},
	{0x1402, 1, "1:2 M0 1:1 Y1F 1:0", {0, 0}, false},
	{0x1402, 2, "1:1 1:1 D100 2:5 LTN0 4:7", {0, 0}, false},
	{0x1402, 3, "1:1 M0 2:1", {0, 0}, false},
	{0x1406, 0, "1:1 1:1 D0 2:1 2:9 M0 2:2 2:9 2:9", {0, 0}, false},
	{0x1406, 2, "1:1 1:0 D0 2:1 2:9", {0, 0}, false},
	{0x1613, 0, "4:16 2:2 2:1 2:2", {0, 0}, false},
	{0x0601, 0, "4:0 2:4 2:26", MC_SAMPLE_UNKNOWN, true},
	{0x1601, 0, "4:0 2:4 2:26 2:1 2:2", {0, 0}, true},
	{0x0101, 0, "", MC_SAMPLE_UNKNOWN, false},
	{0x1617, 0, "", {0, 0}, false},
	{0x1617, 1, "", {0, 0}, true},
	{0x1619, 0, "", MC_SAMPLE_UNKNOWN, true},
	{0x1630, 0, "2:4 '1234", {0, 0}, false},
	{0x1631, 0, "2:4 '1234", {0, 0}, false},
	{0x1002, 0, "2:1", {0, 0}, false},
	{0x1005, 0, "2:1", {0, 0}, false},
	{0x1006, 0, "2:1", MC_SAMPLE_UNKNOWN, false},
	{0x1001, 0, "2:1 1:0 1:0", {0, 0}, false},
	{0x1003, 0, "2:3", {0, 0}, false},
};

static inline struct mc_access compose_sample(struct composed *composed, enum mc_family family,
					      enum mc_code code, const struct mc_sample *sample)
{
	compose(composed, code, sample->command, sample->subcommand);
	composed->request.family = family;
	memcpy(composed->request.serial, "12Ab", sizeof(composed->request.serial));
	put_text(composed, sample->data);
	return composed_end(composed);
}

#endif
