/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Points and values as logs have them: every layout that writes, in both codes; never more than a
 * list holds, and never anything of a request that is not looked into.
 */
#include "base/error.h"
#include "mc/mc_points.h"
#include "mc_vectors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct mc_request parse(enum mc_code code, const char *text, uint8_t *bytes)
{
	size_t size = mc_vector_bytes(code, text, bytes);
	struct mc_request request;

	assert_int_equal(mc_frame_parse_request(bytes, size, &request), 0);
	return request;
}

static const struct {
	enum mc_code code;
	const char *request, *points, *values;
} ROWS[] = {
	/* batch: words, bits (two in a byte), bit device in words */
	{MC_CODE_BINARY, "500000ffff03001200100001140000640000a80300951902123011", "D100-D102",
	 "9519,0212,3011"},
	{MC_CODE_BINARY, "500000ffff03000e001000011401006400009003001100", "M100-M102", "110"},
	{MC_CODE_BINARY, "500000ffff03000e0010000114000064000090010034ab", "M100-M115", "34AB"},
	{MC_CODE_ASCII, "500000FF03FF0000200010140100 00D*0001000002199512AB", "D100-D101",
	 "9519,AB12"},
	{MC_CODE_ASCII, "500000FF03FF00001C001014010001M*00010000041101", "M100-M103", "1101"},
	/* random: words and double words, bits */
	{MC_CODE_BINARY, "500000ffff0300160010000214000001016e0000a85005700000a802123904",
	 "D110-D110,D112-D113", "5005,02123904"},
	{MC_CODE_BINARY, "500000ffff030011001000021401000232000090002f00009d01", "M50-M50,Y2F-Y2F",
	 "0,1"},
	/* 4E, iQ-R form */
	{MC_CODE_BINARY, "54003412000000ffff03000e00100002140300016500000090000100", "M101-M101",
	 "1"},
	/* blocks */
	{MC_CODE_BINARY,
	 "500000ffff03001c00100006140000"
	 "0101"
	 "640000a8"
	 "0200"
	 "01000200"
	 "100000900100"
	 "ff00",
	 "D100-D101,M16-M31", "0100,0200,FF00"},
	/* buffer memory: values without points; of a module, in bytes */
	{MC_CODE_BINARY, "500000ffff0300100010001316000000000000020034127856", "", "3412,7856"},
	{MC_CODE_BINARY,
	 "500000ffff0300110010000116000000070000030013000102"
	 "03",
	 "", "0102,03"},
	/* 1E: words, bits with a filler, random */
	{MC_CODE_BINARY, "03ff0a00a00f0000204402000b00f4ff", "D4000-D4001", "0B00,F4FF"},
	{MC_CODE_BINARY, "02ff0a0064000000204d03001110", "M100-M102", "111"},
	{MC_CODE_ASCII, "03FF000A44200000006401000007", "D100-D100", "0700"},
	/* nothing is written: reads, commands, files, labels */
	{MC_CODE_BINARY, "500000ffff03000c00100001040000640000a80200", "D100-D101", ""},
	{MC_CODE_BINARY, "500000ffff03000a0010000110000003000000", "", ""},
	{MC_CODE_BINARY, "500000ffff03000c0010002918000034127856aabb", "", ""},
	{MC_CODE_BINARY, "500000ffff03000c0010001a14000034127856aabb", "", ""},
};

/* Blanks in the rows are for people, and the data lengths are filled in. */
static struct mc_request row_request(size_t row, uint8_t *bytes)
{
	char text[2 * MC_VECTOR_SIZE], length[8];
	size_t size = 0;
	bool ascii = ROWS[row].code == MC_CODE_ASCII;

	for (const char *at = ROWS[row].request; *at != '\0'; at++)
		if (*at != ' ')
			text[size++] = *at;
	text[size] = '\0';
	if (text[0] == '5') {
		size_t at = text[1] == '4' ? 22 : 14; /* in both codes: digits */
		unsigned int count = (unsigned int)(size - at - 4);

		if (ascii)
			snprintf(length, sizeof(length), "%04X", count & 0xffff);
		else
			snprintf(length, sizeof(length), "%02x00", count / 2 & 0xff);
		memcpy(text + at, length, 4);
	}
	return parse(ROWS[row].code, text, bytes);
}

static void every_layout(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
		uint8_t bytes[MC_VECTOR_SIZE];
		struct mc_request request = row_request(i, bytes);
		struct mc_points points = {.used = 0}, values = {.used = 0};

		mc_points_read(&request, &points);
		mc_points_values(&request, NULL, &values);
		if (strcmp(points.text, ROWS[i].points) != 0 ||
		    strcmp(values.text, ROWS[i].values) != 0)
			fail_msg("%s: %s, %s", ROWS[i].request, points.text, values.text);
		assert_true(points.more == 0 && values.more == 0);
		assert_int_equal(points.used, strlen(points.text));
	}
}

/* A password is in no list, in whatever frame it comes. */
static void passwords(void **state)
{
	static const struct {
		enum mc_code code;
		const char *request;
	} UNLOCKS[] = {
		{MC_CODE_BINARY, "500000ffff03000c00100030160000040070617373"},
		{MC_CODE_BINARY, "500000ffff03000c00100031160000040070617373"},
		{MC_CODE_BINARY, "54003412000000ffff03000c00100030160000040070617373"},
		{MC_CODE_BINARY, "500000ffff03000c00100030160100040070617373"},
		{MC_CODE_ASCII, "500000FF03FF000015001016300000"
				"0005pass1"},
		{MC_CODE_ASCII, "500000FF03FF000015001016310000"
				"0005pass1"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(UNLOCKS); i++) {
		uint8_t bytes[MC_VECTOR_SIZE];
		struct mc_request request = parse(UNLOCKS[i].code, UNLOCKS[i].request, bytes);
		struct mc_points list = {.used = 0};

		assert_true(request.command == 0x1630 || request.command == 0x1631);
		mc_points_read(&request, &list);
		mc_points_values(&request, NULL, &list);
		assert_true(list.used == 0 && list.more == 0 && list.text[0] == '\0');
	}
}

/* Of a refused request: what it would have written where it may not. */
static void values_of_one_range(void **state)
{
	uint8_t bytes[MC_VECTOR_SIZE];
	struct mc_request request =
		parse(MC_CODE_BINARY,
		      "500000ffff0300160010000214000001016e0000a85005700000a802123904", bytes);
	struct mc_range range = {.device = mc_device_by_name("D"), .first = 112, .last = 113};
	struct mc_points values = {.used = 0};

	(void)state;
	mc_points_values(&request, &range, &values);
	assert_string_equal(values.text, "02123904");
	values = (struct mc_points){.used = 0};
	range.first = 111;
	mc_points_values(&request, &range, &values);
	assert_string_equal(values.text, "");
}

/* As many as fit, and how many more there are. */
static void long_lists_have_their_end(void **state)
{
	uint8_t data[6 + 2 * 960];
	struct mc_request request = {
		.family = MC_FAMILY_3E,
		.code = MC_CODE_BINARY,
		.command = 0x1401,
		.data = data,
		.data_size = sizeof(data),
	};
	struct mc_points values = {.used = 0};

	(void)state;
	memcpy(data, (uint8_t[]){0, 0, 0, 0xa8, 960 & 255, 960 >> 8}, 6);
	memset(data + 6, 0xee, sizeof(data) - 6);
	mc_points_values(&request, NULL, &values);
	assert_int_equal(values.used, 102 * 5 - 1);
	assert_int_equal(values.more, 960 - 102);
	assert_int_equal(strlen(values.text), values.used);
	/* Bits: a row of them. */
	request.subcommand = 1;
	data[3] = 0x90;
	memset(data + 6, 0x10, sizeof(data) - 6);
	memcpy(data + 4, (uint8_t[]){(2 * 1920) & 255, (2 * 1920) >> 8}, 2);
	values = (struct mc_points){.used = 0};
	mc_points_values(&request, NULL, &values);
	assert_int_equal(values.used, MC_POINTS_SIZE - 1);
	assert_int_equal(values.more, 2 * 1920 - (MC_POINTS_SIZE - 1));
	assert_memory_equal(values.text, "101010", 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_layout),
		cmocka_unit_test(passwords),
		cmocka_unit_test(values_of_one_range),
		cmocka_unit_test(long_lists_have_their_end),
	};

	return cmocka_run_group_tests_name("mc_points", tests, NULL, NULL);
}
