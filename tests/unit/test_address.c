/* SPDX-License-Identifier: Apache-2.0 */
#include "base/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"

static struct address parse(const char *text)
{
	struct address address;

	if (address_parse(text, &address) != 0)
		fail_msg("%s was refused", text);
	return address;
}

static struct address_prefix parse_prefix(const char *text)
{
	struct address_prefix prefix;

	if (address_prefix_parse(text, &prefix) != 0)
		fail_msg("%s was refused", text);
	return prefix;
}

static void test_parse_and_print(void **state)
{
	static const struct {
		const char *text, *printed;
	} cases[] = {
		{"192.0.2.1:5007", "192.0.2.1:5007"},
		{"0.0.0.0:65535", "0.0.0.0:65535"},
		{"0.0.0.0:0", "0.0.0.0:0"},
		{"[fd30::10]:5007", "[fd30::10]:5007"},
		{"[::]:1", "[::]:1"},
		{"[FD30:0:0::10]:1", "[fd30::10]:1"},
		{"192.0.2.1:0", "192.0.2.1:0"},
		{"[fe80::1%1]:5007", "[fe80::1%lo]:5007"},
		{"[fe80::1%4000000]:5007", "[fe80::1%4000000]:5007"},
		{"[::ffff:192.0.2.1]:5007", "192.0.2.1:5007"},
		{"[1111:2222:3333:4444:5555:6666:7777:8888]:65535",
		 "[1111:2222:3333:4444:5555:6666:7777:8888]:65535"},
	};
	char text[ADDRESS_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct address address = parse(cases[i].text);

		assert_string_equal(address_print(&address, text), cases[i].printed);
	}
}

static void test_refused(void **state)
{
	static const char *const texts[] = {
		"",
		":",
		"192.0.2.1",
		"192.0.2.1:",
		"192.0.2.1:65536",
		"192.0.2.1:4294967297",
		"192.0.2.1:18446744073709551617",
		"192.0.2.1:+1",
		"192.0.2.1: 1",
		"192.0.2.1:1 ",
		"192.0.2.1:0x1",
		" 192.0.2.1:1",
		"192.0.2:1",
		"192.0.2.256:1",
		"0300.0.2.1:1",
		"192.0.2.1/24:1",
		"fd30::10:5007",
		"[fd30::10]",
		"[fd30::10:5007",
		"fd30::10]:5007",
		"[fd30::10]5007",
		"[192.0.2.1]:5007",
		"[]:5007",
		"[:5007",
		"[fd30::10%1]:5007",
		"[fe80::1%]:5007",
		"[fe80::1%0]:5007",
		"[fe80::1%no-such-link]:5007",
		"plc.example:5007",
		"localhost:5007",
		("[1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee:ffff:0000:"
		 "1111:2222]:1"),
	};
	struct address address;

	(void)state;
	memset(&address, 0x5a, sizeof(address));
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct address before = address;

		if (address_parse(texts[i], &address) != -EINVAL)
			fail_msg("'%s' was taken", texts[i]);
		assert_memory_equal(&before, &address, sizeof(address));
	}
}

static void test_host(void **state)
{
	struct address address;
	char text[ADDRESS_TEXT_SIZE];

	(void)state;
	assert_int_equal(address_parse_host("fd30::10", 5007, &address), 0);
	assert_int_equal(address_port(&address), 5007);
	assert_string_equal(address_print_host(&address, text), "fd30::10");
	assert_int_equal(address_size(&address), sizeof(struct sockaddr_in6));
	assert_int_equal(address_parse_host("192.0.2.1", 0, &address), 0);
	assert_int_equal(address_size(&address), sizeof(struct sockaddr_in));
	address_set_port(&address, 80);
	assert_int_equal(address.v4.sin_port, htons(80));
	assert_string_equal(address_print(&address, text), "192.0.2.1:80");
	assert_string_equal(address_print_host(&address, text), "192.0.2.1");
	assert_int_equal(address_parse_host("192.0.2.1:80", 0, &address), -EINVAL);
	assert_int_equal(address_parse_host("[fd30::10]", 0, &address), -EINVAL);
}

static void test_no_address(void **state)
{
	struct address none = {0};
	struct address some = parse("192.0.2.1:1");
	struct address_prefix all = parse_prefix("0.0.0.0/0");
	char text[ADDRESS_TEXT_SIZE];

	(void)state;
	assert_string_equal(address_print(&none, text), "-");
	assert_string_equal(address_print_host(&none, text), "-");
	assert_int_equal(address_size(&none), 0);
	assert_int_equal(address_port(&none), 0);
	assert_false(address_equal(&none, &some));
	assert_true(address_equal(&none, &none));
	assert_false(address_in_prefix(&none, &all));
	address_set_port(&none, 5);
	assert_int_equal(address_port(&none), 0);
}

static void test_equal(void **state)
{
	struct address v4 = parse("192.0.2.1:5007");
	struct address other_port = parse("192.0.2.1:5008");
	struct address v6 = parse("[fd30::10]:5007");
	struct address mapped = {.v6 = {.sin6_family = AF_INET6, .sin6_port = htons(5007)}};
	struct address link_one = parse("[fe80::1%1]:1");
	struct address link_two = parse("[fe80::1%4000000]:1");

	(void)state;
	assert_int_equal(inet_pton(AF_INET6, "::ffff:192.0.2.1", &mapped.v6.sin6_addr), 1);
	assert_true(address_equal(&v4, &mapped));
	assert_true(address_equal(&mapped, &v4));
	assert_false(address_equal(&v4, &other_port));
	assert_true(address_same_host(&v4, &other_port));
	assert_false(address_same_host(&v4, &v6));
	assert_false(address_same_host(&link_one, &link_two));
}

static void test_prefix(void **state)
{
	static const struct {
		const char *prefix, *address;
		bool inside;
	} cases[] = {
		{"192.0.2.0/24", "192.0.2.255:1", true},
		{"192.0.2.0/24", "192.0.3.0:1", false},
		{"192.0.2.128/25", "192.0.2.127:1", false},
		{"192.0.2.128/25", "192.0.2.128:1", true},
		{"192.0.2.1", "192.0.2.1:1", true},
		{"192.0.2.1", "192.0.2.2:1", false},
		{"192.0.2.6/31", "192.0.2.7:1", true},
		{"192.0.2.6/31", "192.0.2.8:1", false},
		{"0.0.0.0/0", "255.255.255.255:1", true},
		{"0.0.0.0/0", "[fd30::1]:1", false},
		{"::/0", "[fd30::1]:1", true},
		{"::/0", "192.0.2.1:1", false},
		{"fd30::/64", "[fd30::ffff]:1", true},
		{"fd30::/64", "[fd30:0:0:1::]:1", false},
		{"fd30::8/125", "[fd30::f]:1", true},
		{"fd30::8/125", "[fd30::10]:1", false},
		{"fd30::10", "[fd30::10]:1", true},
		{"::ffff:192.0.2.0/120", "192.0.2.9:1", true},
		{"::ffff:192.0.2.0/120", "192.0.3.9:1", false},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct address_prefix prefix = parse_prefix(cases[i].prefix);
		struct address address = parse(cases[i].address);

		if (address_in_prefix(&address, &prefix) != cases[i].inside)
			fail_msg("%s in %s", cases[i].address, cases[i].prefix);
	}
}

static void test_prefix_takes_mapped_address(void **state)
{
	struct address_prefix prefix = parse_prefix("192.0.2.0/24");
	struct address mapped = {.v6 = {.sin6_family = AF_INET6}};

	(void)state;
	inet_pton(AF_INET6, "::ffff:192.0.2.77", &mapped.v6.sin6_addr);
	assert_true(address_in_prefix(&mapped, &prefix));
	inet_pton(AF_INET6, "::fffe:192.0.2.77", &mapped.v6.sin6_addr);
	assert_false(address_in_prefix(&mapped, &prefix));
}

static void test_prefix_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"/",
		"/24",
		"192.0.2.1/24",
		"192.0.2.0/33",
		"192.0.2.0/",
		"192.0.2.0/-1",
		"192.0.2.0/+8",
		"192.0.2.0/2 4",
		"192.0.2.0/8",
		"fd30::1/64",
		"fd30::/129",
		"[fd30::]/64",
		"net.example/8",
		"192.0.2.0:5/24",
		"0.0.0.1/0",
		"::1/0",
		"fd30::/64/64",
		"192.0.2.0/255.255.255.0",
	};
	struct address_prefix prefix;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		if (address_prefix_parse(texts[i], &prefix) != -EINVAL)
			fail_msg("'%s' was taken", texts[i]);
	}
}

static void test_from_sockaddr(void **state)
{
	struct sockaddr_storage storage = {0};
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&storage;
	struct address expected = parse("192.0.2.1:5007");
	struct address address;

	(void)state;
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(5007);
	inet_pton(AF_INET6, "::ffff:192.0.2.1", &v6->sin6_addr);
	address_from_sockaddr(&storage, &address);
	assert_memory_equal(&address, &expected, sizeof(address));

	inet_pton(AF_INET6, "fd30::10", &v6->sin6_addr);
	address_from_sockaddr(&storage, &address);
	expected = parse("[fd30::10]:5007");
	assert_memory_equal(&address, &expected, sizeof(address));

	storage.ss_family = AF_UNIX;
	address_from_sockaddr(&storage, &address);
	assert_int_equal(address.any.sa_family, AF_UNSPEC);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse_and_print),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_host),
		cmocka_unit_test(test_no_address),
		cmocka_unit_test(test_equal),
		cmocka_unit_test(test_prefix),
		cmocka_unit_test(test_prefix_takes_mapped_address),
		cmocka_unit_test(test_prefix_refused),
		cmocka_unit_test(test_from_sockaddr),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
