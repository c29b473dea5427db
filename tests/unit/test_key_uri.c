/* SPDX-License-Identifier: Apache-2.0 */
/* Key URIs: which are some, and what they name besides the key (RFC 7512). */
#include "config/key_uri.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void kinds(void **state)
{
	(void)state;
	assert_true(key_uri_is_token("pkcs11:"));
	assert_true(key_uri_is_token("pkcs11:token=a"));
	assert_true(key_uri_is_token("handle:0x81000001"));
	assert_true(key_uri_is_tpm2("handle:0x81000001"));
	assert_false(key_uri_is_tpm2("pkcs11:handle:"));
	assert_false(key_uri_is_token("/pkcs11:a"));
	assert_false(key_uri_is_token("pkcs12:a"));
	assert_false(key_uri_is_token(""));
}

static void paths(void **state)
{
	(void)state;
	assert_string_equal(key_uri_path("file:/a/b"), "/a/b");
	assert_string_equal(key_uri_path("file:///a/b"), "/a/b");
	assert_null(key_uri_path("file:a"));
	assert_null(key_uri_path("file://host/a"));
	assert_null(key_uri_path("/a"));
}

static void query(void **state)
{
	static const char uri[] = "pkcs11:token=x;pin-source=no?a=1&pin-source=file:/p%20q%3F&"
				  "module-path=/usr/lib/m.so&bad=%zz&cut=%4&nul=%00&empty=";
	char value[32];

	(void)state;
	assert_int_equal(key_uri_query(uri, "pin-source", value, sizeof(value)), 0);
	assert_string_equal(value, "/p q?");
	assert_int_equal(key_uri_query(uri, "module-path", value, sizeof(value)), 0);
	assert_string_equal(value, "/usr/lib/m.so");
	assert_int_equal(key_uri_query(uri, "empty", value, sizeof(value)), 0);
	assert_string_equal(value, "");
	assert_int_equal(key_uri_query(uri, "token", value, sizeof(value)), -ENOENT);
	assert_int_equal(key_uri_query(uri, "pin", value, sizeof(value)), -ENOENT);
	assert_int_equal(key_uri_query(uri, "bad", value, sizeof(value)), -EINVAL);
	assert_int_equal(key_uri_query(uri, "cut", value, sizeof(value)), -EINVAL);
	assert_int_equal(key_uri_query(uri, "nul", value, sizeof(value)), -EINVAL);
	assert_int_equal(key_uri_query(uri, "module-path", value, 5), -EINVAL);
	assert_int_equal(key_uri_query("pkcs11:a", "a", value, sizeof(value)), -ENOENT);
	assert_int_equal(key_uri_query("pkcs11:a?b=file:rel", "b", value, sizeof(value)), -EINVAL);
}

static void bare(void **state)
{
	char text[32];

	(void)state;
	key_uri_bare("pkcs11:token=a?pin-source=/p", text, sizeof(text));
	assert_string_equal(text, "pkcs11:token=a");
	key_uri_bare("pkcs11:token=a", text, sizeof(text));
	assert_string_equal(text, "pkcs11:token=a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds),
		cmocka_unit_test(paths),
		cmocka_unit_test(query),
		cmocka_unit_test(bare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
