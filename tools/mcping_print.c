/* SPDX-License-Identifier: Apache-2.0 */
#include "mcping_print.h"

#include <inttypes.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "mc/mc_command.h"

#define WORDS_A_LINE 10
#define BITS_A_LINE  16

static const struct {
	const char *name;
	unsigned permille;
} percentiles[] = {{"p50", 500}, {"p90", 900}, {"p99", 990}, {"p99.9", 999}};

/* --- JSON ------------------------------------------------------------------------------------- */

static void json_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if ((unsigned char)*text < 0x20)
			printf("\\u%04x", (unsigned char)*text);
		else
			putchar(*text);
	}
	putchar('"');
}

/* Opens the object that every line is. */
static void json_begin(const struct options *options)
{
	char device[MC_DEVICE_TEXT_SIZE];

	printf("{\"command\":");
	json_string(options->command);
	if (options->request.device)
		printf(",\"device\":\"%s\",\"points\":%" PRIu32,
		       mc_device_print(options->request.device, options->request.number, device),
		       options->request.points);
}

static void json_values(const struct request *request, const uint16_t *values)
{
	printf(",\"values\":[");
	for (uint32_t i = 0; i < request->points; i++)
		printf("%s%u", i ? "," : "", values[i]);
	putchar(']');
}

static void json_model(const struct mc_answer *answer)
{
	char name[17];
	uint16_t code;

	if (!request_model(answer, name, &code))
		return;
	printf(",\"model\":");
	json_string(name);
	printf(",\"model_code\":%u", code);
}

static void json_answer(const struct options *options, const struct mc_answer *answer,
			const uint16_t *values, const char *wrong, int64_t microseconds)
{
	json_begin(options);
	if (values)
		json_values(&options->request, values);
	if (options->request.kind == REQUEST_MODEL)
		json_model(answer);
	if (wrong) {
		printf(",\"wrong\":");
		json_string(wrong);
	}
	printf(",\"microseconds\":%" PRId64 "}\n", microseconds);
}

/* --- answers ---------------------------------------------------------------------------------- */

static void text_values(const struct options *options, const uint16_t *values)
{
	const struct request *request = &options->request;
	/* Word units on a bit device: each point is 16 bits further. */
	uint32_t step = request->device->kind == MC_DEVICE_BIT && !request->bits ? 16 : 1;
	uint32_t line = request->bits ? BITS_A_LINE : WORDS_A_LINE;
	char device[MC_DEVICE_TEXT_SIZE];

	for (uint32_t i = 0; i < request->points; i++) {
		if (i % line == 0)
			printf("%s%s:", i ? "\n" : "",
			       mc_device_print(request->device, request->number + i * step,
					       device));
		printf(options->hexadecimal && !request->bits ? " %04X" : " %u", values[i]);
	}
	putchar('\n');
}

static void text_model(const struct mc_answer *answer)
{
	char name[17];
	uint16_t code;

	if (!request_model(answer, name, &code))
		printf("an answer without a model\n");
	else if (name[0])
		printf("%s (%04XH)\n", name, code);
	else
		printf("model code %02XH\n", code);
}

void print_answer(const struct options *options, const struct mc_answer *answer,
		  const uint16_t *values, const char *wrong, int64_t microseconds)
{
	if (options->json)
		json_answer(options, answer, values, wrong, microseconds);
	else if (values)
		text_values(options, values);
	else if (options->request.kind == REQUEST_MODEL)
		text_model(answer);
	else if (!wrong)
		printf("%s: ok\n", options->command);
	if (wrong && !options->json)
		fprintf(stderr, "mcping: wrong answer: %s\n", wrong);
	fflush(stdout);
}

void print_refusal(const struct options *options, const struct mc_answer *answer)
{
	const char *meaning = mc_command_end_code_name(answer->family, answer->end_code);
	int digits = answer->family == MC_FAMILY_1E ? 2 : 4;

	if (options->json) {
		json_begin(options);
		printf(",\"end_code\":\"%0*X\",\"meaning\":", digits, answer->end_code);
		json_string(meaning);
		printf("}\n");
		return;
	}
	fprintf(stderr, "mcping: PLC refused: end code %0*XH: %s", digits, answer->end_code,
		meaning);
	if (answer->family == MC_FAMILY_1E && answer->has_error_block)
		fprintf(stderr, " (abnormal code %02XH)", answer->abnormal_code);
	fputc('\n', stderr);
}

void print_failure(const struct options *options, const char *problem)
{
	if (options->json) {
		json_begin(options);
		printf(",\"error\":");
		json_string(problem);
		printf("}\n");
		return;
	}
	fprintf(stderr, "mcping: %s:%s: %s\n", options->host, options->port, problem);
}

void print_connection(const struct connection *connection)
{
	X509 *peer = connection->ssl ? SSL_get_peer_certificate(connection->ssl) : NULL;
	char subject[256] = "";

	if (!connection->ssl) {
		fprintf(stderr, "mcping: plain TCP\n");
		return;
	}
	if (peer)
		X509_NAME_oneline(X509_get_subject_name(peer), subject, sizeof(subject));
	fprintf(stderr, "mcping: %s, %s, peer %s\n", SSL_get_version(connection->ssl),
		SSL_get_cipher_name(connection->ssl), subject);
	X509_free(peer);
}

/* --- poll ------------------------------------------------------------------------------------- */

void print_progress(const struct print_tally *tally, const struct latency *latency)
{
	fprintf(stderr,
		"\r%" PRIu64 " answers, %" PRIu64 " refused, %" PRIu64 " wrong, %" PRIu64
		" lost; us: p50 %" PRIu32 " p99 %" PRIu32 " max %" PRIu32 "\033[K",
		tally->answered, tally->refused, tally->wrong, tally->lost,
		latency_percentile(latency, 500), latency_percentile(latency, 990), latency->max);
	fflush(stderr);
}

static void json_summary(const struct options *options, const struct print_tally *tally,
			 const struct latency *latency)
{
	json_begin(options);
	printf(",\"sent\":%" PRIu64 ",\"answered\":%" PRIu64 ",\"refused\":%" PRIu64
	       ",\"wrong\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"seconds\":%.3f,\"microseconds\":{",
	       tally->sent, tally->answered, tally->refused, tally->wrong, tally->lost,
	       tally->seconds);
	printf("\"min\":%" PRIu32 ",\"avg\":%" PRIu32, latency->min, latency_average(latency));
	for (size_t i = 0; i < ARRAY_SIZE(percentiles); i++)
		printf(",\"%s\":%" PRIu32, percentiles[i].name,
		       latency_percentile(latency, percentiles[i].permille));
	printf(",\"max\":%" PRIu32 "}}\n", latency->max);
}

void print_summary(const struct options *options, const struct print_tally *tally,
		   const struct latency *latency)
{
	if (options->json) {
		json_summary(options, tally, latency);
		return;
	}
	printf("%" PRIu64 " requests, %" PRIu64 " answers, %" PRIu64 " refused, %" PRIu64
	       " wrong, %" PRIu64 " lost in %.1f s\n",
	       tally->sent, tally->answered, tally->refused, tally->wrong, tally->lost,
	       tally->seconds);
	printf("latency in us: min %" PRIu32 ", avg %" PRIu32, latency->min,
	       latency_average(latency));
	for (size_t i = 0; i < ARRAY_SIZE(percentiles); i++)
		printf(", %s %" PRIu32, percentiles[i].name,
		       latency_percentile(latency, percentiles[i].permille));
	printf(", max %" PRIu32 "\n", latency->max);
}
