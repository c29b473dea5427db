/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Audit lines, in part written by whoever asks a PLC: whatever stands in them, what is learned is a
 * part of a configuration that loads, and nothing in it but comments and policies.
 */
#include "config/config.h"
#include "ctl/learn.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

/* Only such lines as are meant: a comment cannot be left, a policy's name is ours. */
static void check_lines(const char *text)
{
	const char *end;

	for (const char *line = text; *line != '\0'; line = end + 1) {
		end = strchr(line, '\n');
		check(end != NULL);
		check(*line == '\n' || *line == '#' || *line == '\t' || *line == '}' ||
		      strncmp(line, "policy \"learned-", strlen("policy \"learned-")) == 0);
		for (const char *c = line; c < end; c++)
			check(*c == '\t' || (*c >= ' ' && *c <= '~'));
	}
}

/* The only error is that there is neither edge nor gateway. */
static void check_load(const char *text)
{
	struct config *config = NULL;
	char *report = NULL, *error;
	size_t size;
	FILE *file = open_memstream(&report, &size);

	check(file != NULL);
	check(config_load_text(text, "learned.conf", file, &config) < 0 && config == NULL);
	fclose(file);
	error = strstr(report, ": error: ");
	check(error != NULL && strstr(error, "neither an edge nor a gateway") != NULL);
	check(strstr(error + 1, ": error: ") == NULL);
	free(report);
}

static void learn(const uint8_t *bytes, size_t size, bool with_refused)
{
	FILE *in = fmemopen((void *)(uintptr_t)bytes, size, "r"), *out;
	struct learn *learn = NULL;
	char *text = NULL;
	size_t text_size;

	check(in != NULL && learn_new(with_refused, &learn) == 0);
	check(learn_read(learn, in) == 0);
	fclose(in);
	out = open_memstream(&text, &text_size);
	check(out != NULL);
	learn_print(learn, out);
	fclose(out);
	learn_free(learn);
	check(strlen(text) == text_size);
	check_lines(text);
	check_load(text);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	if (size == 0)
		return 0;
	learn(bytes, size, false);
	learn(bytes, size, true);
	return 0;
}
