/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prometheus' text format, version 0.0.4: what a line of it looks like.
 * Source: prometheus.io/docs/instrumenting/exposition_formats, "Text-based format".
 */
#ifndef MCSEAL_CONTROL_EXPOSITION_H
#define MCSEAL_CONTROL_EXPOSITION_H

#include "plant/histogram.h"

#include <stdio.h>

#define EXPOSITION_LABELS_MAX 3

struct exposition_metric {
	const char *name;
	const char *kind;                          /* "counter", "gauge", "histogram" */
	const char *labels[EXPOSITION_LABELS_MAX]; /* their names; NULL: no more */
	const char *help;
};

/* HELP and TYPE, in front of a metric's samples. */
void exposition_head(FILE *file, const struct exposition_metric *metric);
/* One sample; `values` of the labels, in their order. */
void exposition_sample(FILE *file, const struct exposition_metric *metric,
		       const char *const *values, unsigned long long number);
/* All samples of a histogram, in seconds; they agree, whatever is added meanwhile. */
void exposition_histogram(FILE *file, const struct exposition_metric *metric,
			  const char *const *values, struct histogram *histogram);

#endif
