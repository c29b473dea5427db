/* SPDX-License-Identifier: Apache-2.0 */
/* PROXY v2 against bytes composed by hand from the specification, at the end of a page. */
#include "net/proxy_header.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <cmocka.h>

/* proxy-protocol.txt 2.2: signature, 0x21 = version 2 PROXY, family and protocol, length. */
#define SIGNATURE "\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a"
static const uint8_t over_v4[] = SIGNATURE "\x21\x11\x00\x0c"
					   "\x0a\x0a\x00\x02\x0a\x1e\x00\x0a\x9c\x40\x13\x8f";
static const uint8_t over_v6[] = SIGNATURE "\x21\x21\x00\x24"
					   "\xfd\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\x02"
					   "\xfd\x30\0\0\0\0\0\0\0\0\0\0\0\0\0\x10\x9c\x40\x13\x8f";

static uint8_t *page_end;

static int make_page(void **state)
{
	uint8_t *pages =
		mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_true(pages != MAP_FAILED);
	assert_int_equal(mprotect(pages + 4096, 4096, PROT_NONE), 0);
	page_end = pages + 4096;
	return 0;
}

/* Parses a copy that ends where reading traps. */
static int parse(const uint8_t *bytes, size_t size, struct address *client,
		 struct address *destination, size_t *consumed)
{
	memcpy(page_end - size, bytes, size);
	return proxy_header_parse(page_end - size, size, client, destination, consumed);
}

static void assert_header(const uint8_t *bytes, size_t size, const char *from, const char *to)
{
	struct address client, destination, expected;
	uint8_t written[PROXY_HEADER_MAX];
	char text[ADDRESS_TEXT_SIZE];
	size_t consumed = 0;

	for (size_t part = 0; part < size; part++)
		assert_int_equal(parse(bytes, part, &client, &destination, &consumed),
				 PROXY_HEADER_MORE);
	assert_int_equal(parse(bytes, size, &client, &destination, &consumed), 0);
	assert_int_equal(consumed, size);
	assert_string_equal(address_print(&client, text), from);
	assert_string_equal(address_print(&destination, text), to);
	assert_int_equal(address_parse(from, &expected), 0);
	assert_true(address_equal(&client, &expected));
	assert_int_equal(proxy_header_write(written, &client, &destination), size);
	assert_memory_equal(written, bytes, size);
}

static void both_families(void **state)
{
	(void)state;
	assert_header(over_v4, sizeof(over_v4) - 1, "10.10.0.2:40000", "10.30.0.10:5007");
	assert_header(over_v6, sizeof(over_v6) - 1, "[fd10::2]:40000", "[fd30::10]:5007");
}

static void options_are_skipped_and_the_rest_is_left(void **state)
{
	uint8_t bytes[64];
	struct address client, destination;
	size_t consumed;

	(void)state;
	memcpy(bytes, over_v4, 28);
	bytes[15] = 12 + 5; /* one TLV of five bytes */
	memcpy(bytes + 28, "\x05\x00\x02id\x50\x00", 7);
	assert_int_equal(parse(bytes, 32, &client, &destination, &consumed), PROXY_HEADER_MORE);
	assert_int_equal(parse(bytes, 35, &client, &destination, &consumed), 0);
	assert_int_equal(consumed, 33);
}

static void anything_else_is_refused(void **state)
{
	static const struct {
		size_t at;
		uint8_t value;
	} changes[] = {
		{0, 0x50},
		{5, 0x0a},
		{11, 0x0b},
		{12, 0x20} /* LOCAL */,
		{12, 0x11} /* v1 */,
		{12, 0x22},
		{13, 0x00} /* UNSPEC */,
		{13, 0x12} /* UDP */,
		{13, 0x22},
		{13, 0x31} /* unix */,
		{14, 0x01} /* too long */,
		{15, 0x0b} /* too short */,
		{15, 0xff},
	};
	struct address client, destination;
	size_t consumed;

	(void)state;
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		uint8_t bytes[28];

		memcpy(bytes, over_v4, sizeof(bytes));
		bytes[changes[i].at] = changes[i].value;
		assert_int_equal(parse(bytes, sizeof(bytes), &client, &destination, &consumed),
				 -EPROTO);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_families),
		cmocka_unit_test(options_are_skipped_and_the_rest_is_left),
		cmocka_unit_test(anything_else_is_refused),
	};

	return cmocka_run_group_tests_name("proxy_header", tests, make_page, NULL);
}
