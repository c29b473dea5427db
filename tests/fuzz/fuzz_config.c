/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole way of a configuration file: characters, syntax, values, rules across sections, dump.
 * What is taken must come back from its own dump. Files named in the text are only looked at,
 * and only regular ones opened. "@/" in a text is a folder with a certificate, a key, a CA and a
 * CRL, so that whole files can be valid.
 */
#include "config/config.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

struct sink {
	char *text;
	size_t size;
	FILE *file;
};

static void sink_open(struct sink *sink)
{
	sink->text = NULL;
	sink->file = open_memstream(&sink->text, &sink->size);
	if (!sink->file)
		abort();
}

/* Every message must be a whole line: a text of the file cannot forge one. */
static void check_report(const struct sink *report)
{
	const char *end;

	for (const char *line = report->text; *line; line = end + 1) {
		end = strchr(line, '\n');
		if (!end || strncmp(line, "fuzz.conf:", strlen("fuzz.conf:")) != 0)
			abort();
	}
}

static int load(const char *text, struct config **config)
{
	struct sink report;
	int result;

	sink_open(&report);
	result = config_load_text(text, "fuzz.conf", report.file, config);
	fclose(report.file);
	check_report(&report);
	if (result < 0 && !strstr(report.text, ": error: "))
		abort();
	free(report.text);
	return result;
}

static void check_round_trip(const struct config *config)
{
	struct config *again;
	struct sink first;
	struct sink second;

	sink_open(&first);
	config_dump(config, first.file);
	fclose(first.file);
	if (load(first.text, &again) != 0)
		abort();
	sink_open(&second);
	config_dump(again, second.file);
	fclose(second.file);
	if (strcmp(first.text, second.text) != 0)
		abort();
	free(first.text);
	free(second.text);
	config_free(again);
}

static char folder[] = "/tmp/fuzz_config.XXXXXX";
static const char *const names[] = {"cert.pem", "key.pem", "ca.pem", "ca.crl"};

static void remove_files(void)
{
	char path[64];

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		unlink(path);
	}
	rmdir(folder);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	char path[64];
	FILE *file;

	(void)argc;
	(void)argv;
	if (!mkdtemp(folder))
		abort();
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
		file = fopen(path, "w");
		if (!file)
			abort();
		fputs("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", file);
		fclose(file);
		chmod(path, 0600);
	}
	atexit(remove_files);
	return 0;
}

/* With the folder for "@"; what stands behind a NUL is cut off. */
static char *fill(const uint8_t *bytes, size_t size)
{
	struct sink text;

	sink_open(&text);
	for (size_t i = 0; i < size && bytes[i]; i++) {
		if (bytes[i] == '@' && i + 1 < size && bytes[i + 1] == '/')
			fputs(folder, text.file);
		else
			fputc(bytes[i], text.file);
	}
	fclose(text.file);
	return text.text;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct config *config;
	char *text = fill(bytes, size);

	if (load(text, &config) == 0) {
		check_round_trip(config);
		config_free(config);
	}
	free(text);
	return 0;
}
