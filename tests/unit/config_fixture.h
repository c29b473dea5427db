/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the configuration share: loading a text, and a folder of throw-away
 * certificate files, which "@/" in a text stands for. make_files and remove_files are the set-up
 * and tear-down of the test group.
 */
#ifndef MCSEAL_TESTS_CONFIG_FIXTURE_H
#define MCSEAL_TESTS_CONFIG_FIXTURE_H

#include "config/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"

#define CREDENTIALS                                                                                \
	"certificate=\"@/cert.pem\" key=\"@/key.pem\" ca=\"@/ca.pem\" crl=\"@/ca.crl\"\n"
#define PLC      "plc \"p\" { address = 10.0.0.1 port \"5007\" { } }\n"
#define IDENTITY "identity \"i\" { match = \"cn:x\" plcs = \"*\" }\n"
#define GATEWAY  "gateway \"g\" { listen = \"0.0.0.0:8443\" " CREDENTIALS "}\n"
#define SOURCE   "source \"s\" { addresses = 10.1.0.0/16 }\n"
#define ROUTE    "route \"r\" { destinations = \"10.0.0.1:5007\" gateways = \"10.2.0.1:8443\" }\n"
#define EDGE     "edge \"e\" { listen = \"0.0.0.0:15007\" " CREDENTIALS SOURCE ROUTE "}\n"
#define VALID    PLC IDENTITY GATEWAY /* 4 lines */

/* What a load said. */
struct outcome {
	struct config *config;
	char *report;
	size_t report_size;
	int result;
};

static char folder[] = "/tmp/test_config.XXXXXX";

static inline void write_file(const char *name, const char *text, mode_t mode)
{
	char path[256];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs(text, file);
	assert_int_equal(fclose(file), 0);
	assert_int_equal(chmod(path, mode), 0);
}

static inline char *replace(const char *text, const char *mark, const char *with)
{
	char *result = NULL;
	size_t size;
	FILE *file = open_memstream(&result, &size);
	const char *at;

	assert_non_null(file);
	while ((at = strstr(text, mark)) != NULL) {
		fprintf(file, "%.*s%s", (int)(at - text), text, with);
		text = at + strlen(mark);
	}
	fputs(text, file);
	fclose(file);
	return result;
}

static inline char *fill(const char *text)
{
	char path[sizeof(folder) + 1];

	snprintf(path, sizeof(path), "%s/", folder);
	return replace(text, "@/", path);
}

static inline struct outcome load(const char *text)
{
	struct outcome outcome = {0};
	char *filled = fill(text);
	FILE *file = open_memstream(&outcome.report, &outcome.report_size);

	outcome.result = config_load_text(filled, "t.conf", file, &outcome.config);
	fclose(file);
	free(filled);
	if (outcome.result != 0)
		assert_null(outcome.config);
	return outcome;
}

static inline void drop(struct outcome *outcome)
{
	config_free(outcome->config);
	free(outcome->report);
}

static inline struct outcome load_valid(const char *text)
{
	struct outcome outcome = load(text);

	if (outcome.result != 0)
		fail_msg("%s\n%s", outcome.report, text);
	return outcome;
}

static inline unsigned int count(const char *text, const char *part)
{
	unsigned int found = 0;

	for (const char *at = strstr(text, part); at; at = strstr(at + 1, part))
		found++;
	return found;
}

static inline int make_files(void **state)
{
	static const char certificate[] = "-----BEGIN CERTIFICATE-----\n"
					  "x\n-----END CERTIFICATE-----\n";
	char bundle[21 * sizeof(certificate)] = "";
	char path[256];

	(void)state;
	assert_non_null(mkdtemp(folder));
	for (int i = 0; i < 21; i++)
		strcat(bundle, certificate);
	write_file("cert.pem", certificate, 0644);
	write_file("ca.pem", certificate, 0644);
	write_file("ca.crl", "x", 0644);
	write_file("key.pem", "x", 0600);
	write_file("key-open.pem", "x", 0640);
	write_file("key-other.pem", "x", 0604);
	write_file("cert-writable.pem", certificate, 0666);
	write_file("bundle.pem", bundle, 0644);
	bundle[20 * strlen(certificate)] = '\0';
	write_file("twenty.pem", bundle, 0644);
	write_file("empty.pem", "", 0644);
	snprintf(path, sizeof(path), "%s/folder", folder);
	assert_int_equal(mkdir(path, 0700), 0);
	snprintf(path, sizeof(path), "%s/fifo", folder);
	assert_int_equal(mkfifo(path, 0600), 0);
	snprintf(path, sizeof(path), "%s/link.pem", folder);
	assert_int_equal(symlink("cert.pem", path), 0);
	return 0;
}

static inline int remove_files(void **state)
{
	static const char *const names[] = {
		"cert.pem",          "ca.pem",       "ca.crl",
		"key.pem",           "key-open.pem", "key-other.pem",
		"cert-writable.pem", "bundle.pem",   "twenty.pem",
		"empty.pem",         "folder",       "fifo",
		"link.pem",          "file.conf",
	};
	char path[256];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		remove(path);
	}
	return rmdir(folder);
}

#endif
