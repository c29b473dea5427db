/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What follows from configuration and findings, as tables: every engine with every lack, and what
 * the listeners say of kernel TLS. The findings are made up here.
 */
#include "proxy/capabilities.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "capabilities_fixture.h"

/* --- what is said ---------------------------------------------------------------------------- */

static char said[4096];

/* Standard error goes into `said` from begin to end. */
static int listen_begin(int *memory)
{
	int before = dup(STDERR_FILENO);

	fflush(stderr);
	*memory = memfd_create("said", MFD_CLOEXEC);
	assert_true(before >= 0 && *memory >= 0);
	assert_int_equal(dup2(*memory, STDERR_FILENO), STDERR_FILENO);
	return before;
}

static void listen_end(int before, int memory)
{
	ssize_t size = pread(memory, said, sizeof(said) - 1, 0);

	assert_int_equal(dup2(before, STDERR_FILENO), STDERR_FILENO);
	close(before);
	close(memory);
	assert_true(size >= 0);
	said[size] = '\0';
}

static void assert_says(const char *text)
{
	if (strstr(said, text) == NULL)
		fail_msg("expected: %s\nsaid: %s", text, said);
}

static void assert_silent_about(const char *text)
{
	if (strstr(said, text) != NULL)
		fail_msg("not expected: %s\nsaid: %s", text, said);
}

/* --- the choice --------------------------------------------------------------------------------
 */

enum lack {
	NOTHING,
	NO_URING,
	NO_URING_SPLICE,
	NO_KTLS,
	NO_CIPHER,
	ONE_CIPHER_LESS,
	NO_REKEY, /* and polls on parts of records: as on 6.1 */
	NO_SAFE_SPLICE,
	NO_PIPES,
	LACKS,
};

#define BIT(capability) (1U << CAPABILITY_##capability)
#define CIPHERS         (BIT(AES_128_GCM) | BIT(AES_256_GCM) | BIT(CHACHA20_POLY1305))

static const unsigned int lacks[LACKS] = {
	[NO_URING] = BIT(URING) | BIT(URING_SPLICE),
	[NO_URING_SPLICE] = BIT(URING_SPLICE),
	[NO_KTLS] = BIT(KTLS) | CIPHERS | BIT(REKEY) | BIT(WHOLE_POLL) | BIT(SAFE_SPLICE),
	[NO_CIPHER] = CIPHERS | BIT(REKEY) | BIT(WHOLE_POLL) | BIT(SAFE_SPLICE),
	[ONE_CIPHER_LESS] = BIT(AES_128_GCM),
	[NO_REKEY] = BIT(REKEY) | BIT(WHOLE_POLL),
	[NO_SAFE_SPLICE] = BIT(SAFE_SPLICE),
	[NO_PIPES] = BIT(PIPES),
};

static void make_findings(struct capabilities *capabilities, enum lack lack)
{
	memset(capabilities, 0, sizeof(*capabilities));
	for (unsigned int i = 0; i < CAPABILITIES; i++) {
		struct capability_finding *finding = &capabilities->findings[i];

		finding->there = !(lacks[lack] & (1U << i));
		if (!finding->there)
			snprintf(finding->why, sizeof(finding->why), "no %s here",
				 capability_name((enum capability)i));
	}
}

enum result {
	REFUSED,
	URING_COPY,
	URING_SPLICES,
	URING_URING_SPLICE,
	EPOLL_COPY,
	EPOLL_SPLICES,
};

static const struct {
	enum ring_engine loop;
	enum relay_engine relay;
	const char *line, *field; /* of the log */
} results[] = {
	[URING_COPY] = {RING_ENGINE_URING, RELAY_ENGINE_COPY,
			"info engine loop=io_uring why=", " relay=copy relay-why="},
	[URING_SPLICES] = {RING_ENGINE_URING, RELAY_ENGINE_SPLICE,
			   "info engine loop=io_uring why=", " relay=splice relay-why="},
	[URING_URING_SPLICE] = {RING_ENGINE_URING, RELAY_ENGINE_URING_SPLICE,
				"info engine loop=io_uring why=", " relay=uring-splice relay-why="},
	[EPOLL_COPY] = {RING_ENGINE_EPOLL, RELAY_ENGINE_COPY,
			"info engine loop=epoll why=", " relay=copy relay-why="},
	[EPOLL_SPLICES] = {RING_ENGINE_EPOLL, RELAY_ENGINE_SPLICE,
			   "info engine loop=epoll why=", " relay=splice relay-why="},
};

struct row {
	enum config_engine engine;
	enum lack lack;
	enum result result;
	const char *says;
};

#define AUTO         CONFIG_ENGINE_AUTO
#define SPLICE       CONFIG_ENGINE_SPLICE
#define URING_SPLICE CONFIG_ENGINE_URING_SPLICE
#define COPY         CONFIG_ENGINE_COPY
#define EPOLL        CONFIG_ENGINE_EPOLL
#define ENGINES      5

#define SAFE    "relay-why=\"nothing is lost in a splice from kernel TLS\""
#define NO_LOOP "io_uring is not to be had: no io_uring here\""
#define LOSSY   "splice without loss is not to be had: no safe-splice here\""
#define SMALL   "a pipe of full size is not to be had: no pipes here\""
#define IDLE(of)                                                                                   \
	"warning engine-idle why=\"engine = " of ", but sessions are in user space and copied: "
#define REFUSE(of) "error engine-refused why=\"engine = " of ", but "

/* clang-format off */
static const struct row rows[] = {
	{AUTO,         NOTHING,         URING_SPLICES,      SAFE},
	{SPLICE,       NOTHING,         URING_SPLICES,      SAFE},
	{URING_SPLICE, NOTHING,         URING_URING_SPLICE, SAFE},
	{COPY,         NOTHING,         URING_COPY,         "relay-why=\"engine = copy\""},
	{EPOLL,        NOTHING,         EPOLL_SPLICES,      "loop=epoll why=\"engine = epoll\""},

	{AUTO,         NO_URING,        EPOLL_SPLICES,      "loop=epoll why=\"" NO_LOOP},
	{SPLICE,       NO_URING,        REFUSED,            REFUSE("splice") NO_LOOP},
	{URING_SPLICE, NO_URING,        REFUSED,            REFUSE("uring-splice") NO_LOOP},
	{COPY,         NO_URING,        REFUSED,            REFUSE("copy") NO_LOOP},
	{EPOLL,        NO_URING,        EPOLL_SPLICES,      "why=\"engine = epoll\""},

	{AUTO,         NO_URING_SPLICE, URING_SPLICES,      SAFE},
	{SPLICE,       NO_URING_SPLICE, URING_SPLICES,      SAFE},
	{URING_SPLICE, NO_URING_SPLICE, REFUSED,            REFUSE("uring-splice")
	 "splice by io_uring is not to be had: no uring-splice here\""},
	{COPY,         NO_URING_SPLICE, URING_COPY,         "relay-why=\"engine = copy\""},
	{EPOLL,        NO_URING_SPLICE, EPOLL_SPLICES,      SAFE},

	{AUTO,         NO_KTLS,         URING_COPY,         "relay-why=\"no kernel TLS: no ktls here\""},
	{SPLICE,       NO_KTLS,         URING_COPY,         IDLE("splice") "no ktls here\""},
	{URING_SPLICE, NO_KTLS,         URING_COPY,         IDLE("uring-splice") "no ktls here\""},
	{COPY,         NO_KTLS,         URING_COPY,         "relay-why=\"no kernel TLS: no ktls here\""},
	{EPOLL,        NO_KTLS,         EPOLL_COPY,         "relay-why=\"no kernel TLS: no ktls here\""},

	{AUTO,         NO_CIPHER,       URING_COPY,         "\"no kernel TLS: no aes-128-gcm here\""},
	{SPLICE,       NO_CIPHER,       URING_COPY,         IDLE("splice") "no aes-128-gcm here\""},
	{URING_SPLICE, NO_CIPHER,       URING_COPY,         IDLE("uring-splice") "no aes-128-gcm here\""},
	{COPY,         NO_CIPHER,       URING_COPY,         "\"no kernel TLS: no aes-128-gcm here\""},
	{EPOLL,        NO_CIPHER,       EPOLL_COPY,         "\"no kernel TLS: no aes-128-gcm here\""},

	{AUTO,         ONE_CIPHER_LESS, URING_SPLICES,      "keys of AES-256-GCM, CHACHA20-POLY1305\""},
	{SPLICE,       ONE_CIPHER_LESS, URING_SPLICES,      SAFE},
	{URING_SPLICE, ONE_CIPHER_LESS, URING_URING_SPLICE, SAFE},
	{COPY,         ONE_CIPHER_LESS, URING_COPY,         "keys of AES-256-GCM, CHACHA20-POLY1305\""},
	{EPOLL,        ONE_CIPHER_LESS, EPOLL_SPLICES,      SAFE},

	{AUTO,         NO_REKEY,        URING_SPLICES,      SAFE},
	{SPLICE,       NO_REKEY,        URING_SPLICES,      SAFE},
	{URING_SPLICE, NO_REKEY,        URING_URING_SPLICE, SAFE},
	{COPY,         NO_REKEY,        URING_COPY,         "tls-path=kernel"},
	{EPOLL,        NO_REKEY,        EPOLL_SPLICES,      SAFE},

	{AUTO,         NO_SAFE_SPLICE,  URING_COPY,         "relay-why=\"" LOSSY},
	{SPLICE,       NO_SAFE_SPLICE,  REFUSED,            REFUSE("splice") LOSSY},
	{URING_SPLICE, NO_SAFE_SPLICE,  REFUSED,            REFUSE("uring-splice") LOSSY},
	{COPY,         NO_SAFE_SPLICE,  URING_COPY,         "relay-why=\"engine = copy\""},
	{EPOLL,        NO_SAFE_SPLICE,  EPOLL_COPY,         "relay-why=\"" LOSSY},

	{AUTO,         NO_PIPES,        URING_COPY,         "relay-why=\"" SMALL},
	{SPLICE,       NO_PIPES,        REFUSED,            REFUSE("splice") SMALL},
	{URING_SPLICE, NO_PIPES,        REFUSED,            REFUSE("uring-splice") SMALL},
	{COPY,         NO_PIPES,        URING_COPY,         "relay-why=\"engine = copy\""},
	{EPOLL,        NO_PIPES,        EPOLL_COPY,         "relay-why=\"" SMALL},
};
/* clang-format on */

static int choose(struct capabilities *capabilities, const struct config *config)
{
	int memory, before = listen_begin(&memory);
	int result = capabilities_choose(capabilities, config);

	if (result == 0)
		capabilities_log_choice(capabilities, config);
	listen_end(before, memory);
	return result;
}

static void check_row(const struct row *row)
{
	struct capabilities capabilities;
	struct site site;
	int result;

	make_site(&site);
	site.config.engine = row->engine;
	make_findings(&capabilities, row->lack);
	result = choose(&capabilities, &site.config);
	assert_says(row->says);
	if (row->result == REFUSED) {
		assert_int_equal(result, -EOPNOTSUPP);
		/* One line of one cause. */
		assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1);
		return;
	}
	assert_int_equal(result, 0);
	assert_int_equal(capabilities.loop, results[row->result].loop);
	assert_int_equal(capabilities.relay, results[row->result].relay);
	assert_says(results[row->result].line);
	assert_says(results[row->result].field);
	assert_silent_about("refused");
	if (strstr(row->says, "engine-idle") == NULL)
		assert_silent_about("engine-idle");
}

static void test_choice(void **state)
{
	bool seen[ENGINES][LACKS] = {{false}};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		assert_false(seen[rows[i].engine][rows[i].lack]);
		seen[rows[i].engine][rows[i].lack] = true;
		check_row(&rows[i]);
	}
	/* None is left out. */
	assert_int_equal(ARRAY_SIZE(rows), ENGINES * LACKS);
}

/* --- ktls of the listeners ------------------------------------------------------------------ */

struct ktls_row {
	enum config_ktls top, gateway, edge;
	enum lack lack;
	int result;
	const char *says;
};

#define D CONFIG_KTLS_DEFAULT
#define A CONFIG_KTLS_AUTO
#define R CONFIG_KTLS_REQUIRED
#define O CONFIG_KTLS_OFF

#define KTLS_REFUSED(of, why)                                                                      \
	"error ktls-refused why=\"" of ": ktls = required, but kernel TLS is not to be had: " why  \
	"\""
#define PLANT  "gateway \\\"plant\\\""
#define OFFICE "edge \\\"office\\\""

/* clang-format off */
static const struct ktls_row ktls_rows[] = {
	{A, D, D, NOTHING,         0,           "tls-path=kernel tls-why=\"the kernel takes keys of "
						"AES-128-GCM, AES-256-GCM, CHACHA20-POLY1305\""},
	{A, D, D, NO_KTLS,         0,           "tls-path=\"user space\" tls-why=\"no ktls here\""},
	{A, O, O, NOTHING,         0,           "tls-path=\"user space\" tls-why=\"ktls = off\""},
	{O, D, D, NOTHING,         0,           "tls-path=\"user space\" tls-why=\"ktls = off\""},
	{O, A, D, NOTHING,         0,           "tls-path=kernel"},
	{O, D, A, NOTHING,         0,           "tls-path=kernel"},
	{R, D, D, NOTHING,         0,           "tls-path=kernel"},
	{R, D, D, ONE_CIPHER_LESS, 0,           "tls-path=kernel"},
	{R, D, D, NO_REKEY,        0,           "tls-path=kernel"},
	{R, D, D, NO_SAFE_SPLICE,  0,           "tls-path=kernel"},
	{R, D, D, NO_KTLS,         -EOPNOTSUPP, KTLS_REFUSED(PLANT, "no ktls here")},
	{R, D, D, NO_CIPHER,       -EOPNOTSUPP, KTLS_REFUSED(PLANT, "no aes-128-gcm here")},
	{R, O, D, NO_KTLS,         -EOPNOTSUPP, KTLS_REFUSED(OFFICE, "no ktls here")},
	{R, A, O, NO_KTLS,         0,           "tls-path=\"user space\""},
	{A, R, D, NO_KTLS,         -EOPNOTSUPP, KTLS_REFUSED(PLANT, "no ktls here")},
	{A, D, R, NO_KTLS,         -EOPNOTSUPP, KTLS_REFUSED(OFFICE, "no ktls here")},
	{O, D, R, NO_KTLS,         -EOPNOTSUPP, KTLS_REFUSED(OFFICE, "no ktls here")},
	{O, D, R, NO_CIPHER,       -EOPNOTSUPP, KTLS_REFUSED(OFFICE, "no aes-128-gcm here")},
	{O, D, R, NOTHING,         0,           "tls-path=kernel"},
};
/* clang-format on */

static void test_ktls_of_listeners(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ktls_rows); i++) {
		const struct ktls_row *row = &ktls_rows[i];
		struct capabilities capabilities;
		struct site site;

		make_site(&site);
		site.config.ktls = row->top;
		site.gateway.ktls = row->gateway;
		site.edge.ktls = row->edge;
		make_findings(&capabilities, row->lack);
		assert_int_equal(choose(&capabilities, &site.config), row->result);
		assert_says(row->says);
	}
}

static void test_both_refusals_at_once(void **state)
{
	struct capabilities capabilities;
	struct site site;

	(void)state;
	make_site(&site);
	site.config.engine = CONFIG_ENGINE_SPLICE;
	site.config.ktls = CONFIG_KTLS_REQUIRED;
	make_findings(&capabilities, NO_KTLS);
	capabilities.findings[CAPABILITY_URING].there = false;
	assert_int_equal(choose(&capabilities, &site.config), -EOPNOTSUPP);
	assert_says("ktls-refused");
	assert_says("engine-refused");
}

/* --- the report --------------------------------------------------------------------------------
 */

static void report(const struct capabilities *capabilities)
{
	int memory, before = listen_begin(&memory);

	capabilities_log(capabilities);
	listen_end(before, memory);
}

static void test_report(void **state)
{
	struct capabilities capabilities;

	(void)state;
	make_findings(&capabilities, NOTHING);
	report(&capabilities);
	assert_says("info capabilities io_uring=yes uring-splice=yes ktls=yes aes-128-gcm=yes "
		    "aes-256-gcm=yes chacha20-poly1305=yes rekey=yes whole-poll=yes "
		    "safe-splice=yes pipes=yes\n");
	make_findings(&capabilities, NO_REKEY);
	report(&capabilities);
	assert_says(" rekey=no rekey-why=\"no rekey here\" whole-poll=no "
		    "whole-poll-why=\"no whole-poll here\" safe-splice=yes");
	/* A cause of many is told once. */
	for (unsigned int i = CAPABILITY_KTLS; i <= CAPABILITY_SAFE_SPLICE; i++)
		capabilities.findings[i] = (struct capability_finding){.why = "no module"};
	report(&capabilities);
	assert_says(" ktls=no ktls-why=\"no module\" aes-128-gcm=no aes-256-gcm=no "
		    "chacha20-poly1305=no rekey=no whole-poll=no safe-splice=no pipes=yes\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_ktls_of_listeners),
		cmocka_unit_test(test_both_refusals_at_once),
		cmocka_unit_test(test_report),
	};

	return cmocka_run_group_tests_name("capabilities: the choice", tests, NULL, NULL);
}
