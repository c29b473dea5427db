/* SPDX-License-Identifier: Apache-2.0 */
/* What a running daemon can take over, and what needs a new start. */
#include "config/config_compare.h"
#include "config_fixture.h"

#define ALL    PLC IDENTITY GATEWAY EDGE
#define SECOND "gateway \"h\" { listen = \"0.0.0.0:8444\" " CREDENTIALS "}\n"

static const struct {
	const char *then;
	const char *difference; /* NULL: none */
} LISTENERS[] = {
	{ALL, NULL},
	{PLC "policy \"x\" { allow = read }\n" IDENTITY GATEWAY EDGE, NULL},
	{"log_level = debug limits { sessions = 7 }\n" ALL, NULL},
	{PLC IDENTITY GATEWAY, "edge \"e\": is no more, or elsewhere"},
	{PLC EDGE, "gateway \"g\": is no more, or elsewhere"},
	{ALL SECOND, "gateway \"h\": is new"},
	{PLC IDENTITY SECOND GATEWAY EDGE, "gateway \"g\": is no more, or elsewhere"},
	{PLC IDENTITY "gateway \"g\" { listen = \"0.0.0.0:8445\" " CREDENTIALS "}\n" EDGE,
	 "gateway \"g\": listen"},
	{PLC IDENTITY "gateway \"g\" { listen = { \"0.0.0.0:8443\", \"0.0.0.0:8445\" } " CREDENTIALS
		      "}\n" EDGE,
	 "gateway \"g\": listen"},
	{PLC IDENTITY GATEWAY "edge \"e\" { listen = \"0.0.0.0:15008\" " CREDENTIALS SOURCE ROUTE
			      "}\n",
	 "edge \"e\": listen"},
	{PLC IDENTITY GATEWAY "edge \"e\" { listen = \"0.0.0.0:15007\" interception = tproxy "
			      "interfaces = lan0 " CREDENTIALS SOURCE ROUTE "}\n",
	 "edge \"e\": interception"},
	{PLC IDENTITY GATEWAY "edge \"e\" { listen = \"0.0.0.0:15007\" destination = "
			      "\"10.0.0.1:5007\" " CREDENTIALS SOURCE ROUTE "}\n",
	 "edge \"e\": transparent"},
	{ALL "edge \"f\" { listen = \"0.0.0.0:15009\" " CREDENTIALS SOURCE ROUTE "}\n",
	 "edge \"f\": is new"},
};

static void listeners(void **state)
{
	struct outcome now = load_valid(ALL);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(LISTENERS); i++) {
		struct outcome then = load_valid(LISTENERS[i].then);
		char text[256] = "";
		bool same = config_compare_listeners(now.config, then.config, text, sizeof(text));

		assert_int_equal(same, LISTENERS[i].difference == NULL);
		assert_string_equal(text, LISTENERS[i].difference ? LISTENERS[i].difference : "");
		drop(&then);
	}
	drop(&now);
}

static void options_of_the_start(void **state)
{
	static const char *const OPTIONS[][2] = {
		{"", NULL},
		{"mark = 7 limits { sessions = 3 }", NULL},
		{"workers = 3", "workers"},
		{"engine = epoll", "engine"},
		{"ktls = off", "ktls"},
		{"limits { handshakes = 3 }", "limits.handshakes"},
	};
	struct outcome now = load_valid(VALID);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(OPTIONS); i++) {
		char text[4096];
		struct outcome then;
		const char *option;

		snprintf(text, sizeof(text), "%s\n%s", OPTIONS[i][0], VALID);
		then = load_valid(text);
		option = config_compare_start(now.config, then.config);
		if (OPTIONS[i][1] == NULL)
			assert_null(option);
		else
			assert_string_equal(option, OPTIONS[i][1]);
		drop(&then);
	}
	drop(&now);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(listeners),
		cmocka_unit_test(options_of_the_start),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
