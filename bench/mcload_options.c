/* SPDX-License-Identifier: Apache-2.0 */
#include "mcload_options.h"

#include <argp.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "pattern.h"

#define EDGE_ALPN "mcseal/1"

static const char *const mode_names[] = {
	[MCLOAD_CLOSED] = "closed", [MCLOAD_POLL] = "poll", [MCLOAD_CONNECT] = "connect",
	[MCLOAD_IDLE] = "idle",     [MCLOAD_FILL] = "fill",
};

static const char documentation[] =
	"Load on the way to a PLC over the MC protocol (3E binary reads), plain or in mutual TLS, "
	"with every answer checked byte for byte."
	"\vModes:\n"
	"  closed    each connection asks, and asks again as soon as the answer is there\n"
	"  poll      each connection asks every --interval, answered or not\n"
	"  connect   each connection is made, asks once, is closed and made again\n"
	"  idle      each connection asks once, is silent, and asks once more\n"
	"  fill      writes what the other modes expect into the PLC: D<n> = n * 40503 + 4711\n"
	"\n"
	"Targets are numeric; connections are shared out among several. For test benches: never "
	"for a PLC that a machine depends on.\n"
	"\n"
	"Exit status: 0 done, 1 PLC refused, 2 usage, 3 no connection or lost, 4 wrong answer.";

enum {
	KEY_WORDS = 256,
	KEY_HEAD,
	KEY_WARMUP,
	KEY_ANSWERS,
	KEY_TIMEOUT,
	KEY_TOGETHER,
	KEY_JSON,
	KEY_CDF,
	KEY_HOLD,
	KEY_CA,
	KEY_CERT,
	KEY_KEY,
	KEY_SERVER_NAME,
	KEY_ALPN,
	KEY_CIPHER,
	KEY_RESUME,
	KEY_EDGE,
	KEY_GROUP,
};

static const struct argp_option argp_options[] = {
	{NULL, 0, NULL, 0, "Load", 1},
	{"connections", 'c', "N", 0, "connections (1)", 0},
	{"words", KEY_WORDS, "N", 0, "words of each read, 1 to 960 (1)", 0},
	{"head", KEY_HEAD, "N", 0, "first of the 1,024 D devices that are read (0)", 0},
	{"interval", 'i', "TIME", 0, "poll: of each connection's requests (1s)", 0},
	{"together", KEY_TOGETHER, NULL, 0, "poll: all at once, not spread over the interval", 0},
	{"duration", 'd', "TIME", 0, "of the measurement, or the silence (5s)", 0},
	{"warmup", KEY_WARMUP, "TIME", 0, "before it, not counted (0.5s)", 0},
	{"answers", KEY_ANSWERS, "N", 0, "end it after so many answers", 0},
	{"timeout", KEY_TIMEOUT, "TIME", 0, "for a connection and for an answer (10s)", 0},
	{NULL, 0, NULL, 0, "Output", 2},
	{"json", KEY_JSON, NULL, 0, "JSON, one object a line, events too", 0},
	{"cdf", KEY_CDF, NULL, 0, "with --json: the whole distribution of latencies", 0},
	{"hold", KEY_HOLD, NULL, 0,
	 "keep the connections after the result, or the silence, until stdin ends", 0},
	{"group", KEY_GROUP, "FOLDER", 0,
	 "with --json: CPU time of this control group (cgroup v2) for each answer", 0},
	{NULL, 0, NULL, 0, "TLS 1.3 (--ca turns it on)", 3},
	{"ca", KEY_CA, "FILE", 0, "CA of the gateway, PEM", 0},
	{"cert", KEY_CERT, "FILE", 0, "own certificate, PEM", 0},
	{"key", KEY_KEY, "FILE", 0, "its key, PEM", 0},
	{"server-name", KEY_SERVER_NAME, "NAME", 0,
	 "DNS name that must be in the gateway's certificate, also sent as SNI (its address)", 0},
	{"alpn", KEY_ALPN, "NAME", 0, "application protocol to offer (none)", 0},
	{"cipher", KEY_CIPHER, "SUITE", 0, "cipher suite (TLS_AES_128_GCM_SHA256)", 0},
	{"resume", KEY_RESUME, NULL, 0, "connect: resume the session of the connection before", 0},
	{"edge", KEY_EDGE, "ADDR:PORT", 0,
	 "behave as an edge of mcseal: for this PLC, said in a PROXY header", 0},
	{0},
};

static uint32_t number(struct argp_state *state, const char *what, const char *text, uint32_t low,
		       uint32_t high)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (end == text || *end || text[0] == '-' || value < low || value > high)
		argp_error(state, "%s: a number from %u to %u, not \"%s\"", what, low, high, text);
	return (uint32_t)value;
}

/* "100ms", "1.5s", "200us"; without a unit: seconds. */
static clock_ns duration(struct argp_state *state, const char *what, const char *text)
{
	static const struct {
		const char *unit;
		double scale;
	} units[] = {{"", 1e9}, {"s", 1e9}, {"ms", 1e6}, {"us", 1e3}};
	char *end;
	double value = strtod(text, &end);

	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		if (end != text && strcmp(end, units[i].unit) == 0 && value >= 0 &&
		    value * units[i].scale <= 86400e9)
			return (clock_ns)(value * units[i].scale);
	}
	argp_error(state, "%s: a time like 100ms or 1.5s, not \"%s\"", what, text);
	return 0;
}

static void set_edge(struct argp_state *state, struct mcload_options *options, const char *text)
{
	if (address_parse(text, &options->destination))
		argp_error(state, "--edge: expected ADDR:PORT, not %s", text);
	options->is_edge = true;
	options->alpn = EDGE_ALPN;
}

static void set_word(struct argp_state *state, struct mcload_options *options, const char *text)
{
	if (state->arg_num == 0) {
		for (size_t i = 0; i < ARRAY_SIZE(mode_names); i++) {
			if (strcmp(mode_names[i], text) == 0) {
				options->mode = (enum mcload_mode)i;
				options->mode_name = mode_names[i];
				return;
			}
		}
		argp_error(state, "no such mode: %s", text);
	} else if (options->target_count == MCLOAD_TARGETS_MAX) {
		argp_error(state, "more than %d targets", MCLOAD_TARGETS_MAX);
	} else if (address_parse(text, &options->targets[options->target_count])) {
		argp_error(state, "expected ADDR:PORT or [ADDR]:PORT, not %s", text);
	} else {
		options->target_count++;
	}
}

static void check(struct argp_state *state, struct mcload_options *options)
{
	if (options->target_count == 0)
		argp_error(state, "a mode and a target are needed");
	if (!options->certificate != !options->key)
		argp_error(state, "--cert and --key: both or none");
	if (!options->ca && (options->certificate || options->server_name || options->alpn ||
			     options->cipher || options->resume))
		argp_error(state, "TLS needs --ca FILE: the CA that signed the gateway's "
				  "certificate");
	if (options->resume && options->mode != MCLOAD_CONNECT)
		argp_error(state, "--resume is for connect");
	if (options->answers && (options->mode == MCLOAD_IDLE || options->mode == MCLOAD_FILL))
		argp_error(state, "--answers is for closed, poll and connect");
	if (options->interval < CLOCK_NS_US)
		argp_error(state, "--interval: at least 1us");
	if (options->mode == MCLOAD_FILL)
		options->connections = 1;
}

static error_t parse_tls_option(int key, char *argument, struct argp_state *state)
{
	struct mcload_options *options = state->input;

	switch (key) {
	case KEY_CA:
		options->ca = argument;
		return 0;
	case KEY_CERT:
		options->certificate = argument;
		return 0;
	case KEY_KEY:
		options->key = argument;
		return 0;
	case KEY_SERVER_NAME:
		options->server_name = argument;
		return 0;
	case KEY_ALPN:
		options->alpn = argument;
		return 0;
	case KEY_CIPHER:
		options->cipher = argument;
		return 0;
	case KEY_RESUME:
		options->resume = true;
		return 0;
	case KEY_EDGE:
		set_edge(state, options, argument);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static error_t parse_output_option(int key, char *argument, struct argp_state *state)
{
	struct mcload_options *options = state->input;

	switch (key) {
	case KEY_JSON:
		options->json = true;
		return 0;
	case KEY_CDF:
		options->cdf = true;
		return 0;
	case KEY_HOLD:
		options->hold = true;
		return 0;
	case KEY_GROUP:
		options->group = argument;
		return 0;
	case ARGP_KEY_ARG:
		set_word(state, options, argument);
		return 0;
	case ARGP_KEY_END:
		check(state, options);
		return 0;
	default:
		return parse_tls_option(key, argument, state);
	}
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
	struct mcload_options *options = state->input;

	switch (key) {
	case 'c':
		options->connections = number(state, "--connections", argument, 1, 100000);
		return 0;
	case KEY_WORDS:
		options->words = (uint16_t)number(state, "--words", argument, 1, PATTERN_READ_MAX);
		return 0;
	case KEY_HEAD:
		options->head = number(state, "--head", argument, 0, PATTERN_WORDS - MCLOAD_AREA);
		return 0;
	case 'i':
		options->interval = duration(state, "--interval", argument);
		return 0;
	case KEY_TOGETHER:
		options->together = true;
		return 0;
	case 'd':
		options->duration = duration(state, "--duration", argument);
		return 0;
	case KEY_ANSWERS:
		options->answers = number(state, "--answers", argument, 1, UINT32_MAX);
		return 0;
	case KEY_WARMUP:
		options->warmup = duration(state, "--warmup", argument);
		return 0;
	case KEY_TIMEOUT:
		options->timeout = duration(state, "--timeout", argument);
		return 0;
	default:
		return parse_output_option(key, argument, state);
	}
}

static const struct argp argp = {
	.options = argp_options,
	.parser = parse_option,
	.args_doc = "MODE ADDR:PORT...",
	.doc = documentation,
};

void mcload_options_parse(struct mcload_options *options, int argc, char **argv)
{
	*options = (struct mcload_options){
		.connections = 1,
		.words = 1,
		.interval = CLOCK_NS_SEC,
		.duration = 5 * CLOCK_NS_SEC,
		.warmup = CLOCK_NS_SEC / 2,
		.timeout = 10 * CLOCK_NS_SEC,
	};
	argp_err_exit_status = MCLOAD_USAGE;
	argp_parse(&argp, argc, argv, 0, NULL, options);
}
