/* SPDX-License-Identifier: Apache-2.0 */
#include "control/exposition.h"

#include <stdbool.h>

/* Help texts and label values: backslash and line end; label values: the quote, too. */
static void put_escaped(FILE *file, const char *text, bool label)
{
	for (; *text != '\0'; text++) {
		if (*text == '\n')
			fputs("\\n", file);
		else if (*text == '\\' || (label && *text == '"'))
			fprintf(file, "\\%c", *text);
		else
			fputc(*text, file);
	}
}

void exposition_head(FILE *file, const struct exposition_metric *metric)
{
	fprintf(file, "# HELP %s ", metric->name);
	put_escaped(file, metric->help, false);
	fprintf(file, "\n# TYPE %s %s\n", metric->name, metric->kind);
}

/* Name and labels; `end`: the upper end of a bucket, or NULL. */
static void put_name(FILE *file, const struct exposition_metric *metric, const char *suffix,
		     const char *const *values, const char *end)
{
	const char *before = "{";

	fprintf(file, "%s%s", metric->name, suffix);
	for (size_t i = 0; i < EXPOSITION_LABELS_MAX && metric->labels[i] != NULL; i++) {
		fprintf(file, "%s%s=\"", before, metric->labels[i]);
		put_escaped(file, values[i], true);
		fputc('"', file);
		before = ",";
	}
	if (end != NULL) {
		fprintf(file, "%sle=\"%s\"", before, end);
		before = ",";
	}
	fputs(*before == '{' ? " " : "} ", file);
}

void exposition_sample(FILE *file, const struct exposition_metric *metric,
		       const char *const *values, unsigned long long number)
{
	put_name(file, metric, "", values, NULL);
	fprintf(file, "%llu\n", number);
}

void exposition_histogram(FILE *file, const struct exposition_metric *metric,
			  const char *const *values, struct histogram *histogram)
{
	unsigned long long total = atomic_load_explicit(&histogram->total, memory_order_relaxed);
	unsigned long long count = 0;
	char end[32];

	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		count += atomic_load_explicit(&histogram->counts[i], memory_order_relaxed);
		if (i < HISTOGRAM_BUCKETS - 1)
			snprintf(end, sizeof(end), "%g",
				 (double)histogram_ends[i] / (double)CLOCK_SEC);
		else
			snprintf(end, sizeof(end), "+Inf");
		put_name(file, metric, "_bucket", values, end);
		fprintf(file, "%llu\n", count);
	}
	put_name(file, metric, "_sum", values, NULL);
	fprintf(file, "%llu.%06llu\n", total / CLOCK_SEC, total % CLOCK_SEC);
	put_name(file, metric, "_count", values, NULL);
	fprintf(file, "%llu\n", count);
}
