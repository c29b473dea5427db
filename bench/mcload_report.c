/* SPDX-License-Identifier: Apache-2.0 */
#include "mcload_report.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/error.h"

#define MICROSECONDS(nanoseconds) ((double)(nanoseconds) / 1000)

static const struct {
	const char *name;
	double share;
} percentiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p99.9", 0.999}};

/* Nothing that we print needs more: addresses, words, the text of errors. */
static void json_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else
			putchar((unsigned char)*text < 0x20 ? ' ' : *text);
	}
	putchar('"');
}

void mcload_report_event(const struct mcload_options *options, const char *event,
			 const struct mcload_tally *tally)
{
	if (!options->json)
		return;
	printf("{\"event\":\"%s\",\"connections\":%" PRIu32 ",\"opening_seconds\":%.6f}\n", event,
	       tally->still_open, tally->opening_seconds);
	fflush(stdout);
}

void mcload_report_progress(const struct mcload_tally *tally,
			    const struct mcload_histogram *latency)
{
	fprintf(stderr,
		"\r%" PRIu32 " connections, %" PRIu64 " answers, %" PRIu64 " refused, %" PRIu64
		" wrong, %" PRIu64 " lost; us: p50 %.1f p99 %.1f max %.1f\033[K",
		tally->still_open, tally->answered, tally->refused, tally->wrong, tally->lost,
		MICROSECONDS(mcload_histogram_quantile(latency, 0.5)),
		MICROSECONDS(mcload_histogram_quantile(latency, 0.99)), MICROSECONDS(latency->max));
	fflush(stderr);
}

void mcload_report_progress_end(void)
{
	fprintf(stderr, "\r\033[K");
}

static double per(double value, uint64_t count)
{
	return count ? value / (double)count : 0;
}

/* --- JSON ------------------------------------------------------------------------------------- */

struct curve {
	double last;
	bool first;
};

/* A thousandth of a share is finer than a plot; the tail is told whole. */
static void json_point(void *context, uint64_t nanoseconds, double share)
{
	struct curve *curve = context;

	if (share < 0.99 && share - curve->last < 0.002)
		return;
	printf("%s[%.1f,%.6f]", curve->first ? "" : ",", MICROSECONDS(nanoseconds), share);
	curve->last = share;
	curve->first = false;
}

static void json_latency(const struct mcload_options *options,
			 const struct mcload_histogram *latency)
{
	struct curve curve = {.first = true};

	printf(",\"latency_us\":{\"min\":%.1f,\"mean\":%.1f", MICROSECONDS(latency->min),
	       mcload_histogram_mean(latency) / 1000);
	for (size_t i = 0; i < ARRAY_SIZE(percentiles); i++)
		printf(",\"%s\":%.1f", percentiles[i].name,
		       MICROSECONDS(mcload_histogram_quantile(latency, percentiles[i].share)));
	printf(",\"max\":%.1f}", MICROSECONDS(latency->max));
	if (!options->cdf)
		return;
	printf(",\"cdf\":[");
	mcload_histogram_walk(latency, json_point, &curve);
	printf("]");
}

static void json_result(const struct mcload_options *options, const struct mcload_tally *tally,
			const struct mcload_histogram *latency)
{
	printf("{\"event\":\"result\",\"mode\":\"%s\",\"tls\":%s,\"connections\":%" PRIu32
	       ",\"words\":%u,\"interval_seconds\":%.6f,\"seconds\":%.6f",
	       options->mode_name, options->ca ? "true" : "false", options->connections,
	       options->words,
	       options->mode == MCLOAD_POLL ? (double)options->interval / CLOCK_NS_SEC : 0.0,
	       tally->seconds);
	printf(",\"answered\":%" PRIu64 ",\"per_second\":%.1f,\"refused\":%" PRIu64
	       ",\"wrong\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"failed\":%" PRIu64
	       ",\"late\":%" PRIu64 ",\"split\":%" PRIu64 ",\"still_open\":%" PRIu32,
	       tally->answered, tally->seconds > 0 ? (double)tally->answered / tally->seconds : 0.0,
	       tally->refused, tally->wrong, tally->lost, tally->failed, tally->late, tally->split,
	       tally->still_open);
	printf(",\"connected\":%" PRIu64 ",\"resumed\":%" PRIu64 ",\"opening_seconds\":%.6f",
	       tally->connected, tally->resumed, tally->opening_seconds);
	printf(",\"own_cpu_us\":%.3f,\"own_switches\":%.3f",
	       per(tally->cpu_seconds * 1e6, tally->answered),
	       per((double)tally->switches, tally->answered));
	printf(",\"fewest\":%" PRIu64 ",\"most\":%" PRIu64, tally->fewest, tally->most);
	if (tally->group_us >= 0)
		printf(",\"group_cpu_us\":%.3f", per((double)tally->group_us, tally->answered));
	json_latency(options, latency);
	if (tally->end_code)
		printf(",\"end_code\":\"%04X\"", tally->end_code);
	if (tally->problem) {
		printf(",\"problem\":");
		json_string(tally->problem);
	}
	printf("}\n");
}

/* --- text ------------------------------------------------------------------------------------- */

static void text_figures(const struct mcload_options *options, const struct mcload_tally *tally,
			 const struct mcload_histogram *latency)
{
	printf("%" PRIu64 " answers, %" PRIu64 " refused, %" PRIu64 " wrong, %" PRIu64
	       " connections lost, %" PRIu64 " failed in %.2f s: %.0f a second\n",
	       tally->answered, tally->refused, tally->wrong, tally->lost, tally->failed,
	       tally->seconds, tally->seconds > 0 ? (double)tally->answered / tally->seconds : 0.0);
	if (options->mode == MCLOAD_CONNECT)
		printf("%" PRIu64 " connections, %" PRIu64 " of them resumed\n", tally->connected,
		       tally->resumed);
	if (tally->late)
		printf("%" PRIu64 " due and not answered in the end; they count with the time they "
		       "had waited\n",
		       tally->late);
	if (tally->split)
		printf("%" PRIu64 " answers came in pieces\n", tally->split);
	printf("latency in us: min %.1f, mean %.1f", MICROSECONDS(latency->min),
	       mcload_histogram_mean(latency) / 1000);
	for (size_t i = 0; i < ARRAY_SIZE(percentiles); i++)
		printf(", %s %.1f", percentiles[i].name,
		       MICROSECONDS(mcload_histogram_quantile(latency, percentiles[i].share)));
	printf(", max %.1f\n", MICROSECONDS(latency->max));
	printf("mcload itself: %.2f us of CPU and %.2f context switches for each answer\n",
	       per(tally->cpu_seconds * 1e6, tally->answered),
	       per((double)tally->switches, tally->answered));
}

static void text_result(const struct mcload_options *options, const struct mcload_tally *tally,
			const struct mcload_histogram *latency)
{
	if (options->mode == MCLOAD_FILL && !tally->problem && !tally->refused)
		printf("D%" PRIu32 " to D%" PRIu32 " are written\n", options->head,
		       options->head + MCLOAD_AREA - 1);
	else if (tally->answered + tally->wrong)
		text_figures(options, tally, latency);
	if (tally->end_code)
		fprintf(stderr, "mcload: PLC refused: end code %04XH\n", tally->end_code);
	if (tally->problem)
		fprintf(stderr, "mcload: %s\n", tally->problem);
}

void mcload_report_result(const struct mcload_options *options, const struct mcload_tally *tally,
			  const struct mcload_histogram *latency)
{
	if (options->json)
		json_result(options, tally, latency);
	else
		text_result(options, tally, latency);
	fflush(stdout);
}
