/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works: argp takes the options one by one; HOST:PORT, the command and its words are kept
 * and looked at when all options are known, because --frame or --words changes their meaning.
 */
#include "mcping_options.h"

#include <argp.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#ifndef MCSEAL_VERSION
#define MCSEAL_VERSION "unknown"
#endif

#define TIMEOUT_DEFAULT  (3 * CLOCK_SEC)
#define INTERVAL_DEFAULT CLOCK_SEC
#define SELFTEST_DEFAULT "ABCDE"

/* --- commands --------------------------------------------------------------------------------- */

static const struct command {
	const char *name;
	enum request_kind kind;
	unsigned least, most; /* words after the command */
	const char *form;
} commands[] = {
	{"read", REQUEST_READ, 1, 2, "DEVICE [POINTS]"},
	{"write", REQUEST_WRITE, 2, UINT16_MAX, "DEVICE VALUE..."},
	{"poll", REQUEST_READ, 1, 2, "DEVICE [POINTS]"},
	{"model", REQUEST_MODEL, 0, 0, ""},
	{"selftest", REQUEST_SELFTEST, 0, 1, "[CHARACTERS]"},
	{"unlock", REQUEST_UNLOCK, 0, 0, ""},
	{"lock", REQUEST_LOCK, 0, 0, ""},
	{"run", REQUEST_RUN, 0, 0, ""},
	{"stop", REQUEST_STOP, 0, 0, ""},
	{"pause", REQUEST_PAUSE, 0, 0, ""},
	{"latch-clear", REQUEST_LATCH_CLEAR, 0, 0, ""},
	{"reset", REQUEST_RESET, 0, 0, ""},
};

static const char arguments_form[] = "HOST:PORT COMMAND [WORD...]";
static const char documentation[] =
	"A client for PLCs that speak the MC protocol (SLMP), over TCP or mutual TLS."
	"\vCommands:\n"
	"  read DEVICE [POINTS]      e.g. read D100 10, read M0 16, read X1F\n"
	"  write DEVICE VALUE...     e.g. write D100 1 0x1f -- -5\n"
	"  poll DEVICE [POINTS]      read at an interval, end with latencies\n"
	"  model, selftest [CHARACTERS]\n"
	"  unlock, lock              remote password from --password-file, $MCPING_PASSWORD or the "
	"terminal\n"
	"  run, stop, pause, latch-clear, reset\n"
	"\n"
	"Exit status: 0 done, 1 PLC refused, 2 usage, 3 no connection or no answer, 4 wrong "
	"answer.";

enum {
	KEY_FRAME = 256,
	KEY_CODE,
	KEY_IQR,
	KEY_WORDS,
	KEY_BITS,
	KEY_ROUTE,
	KEY_TIMER,
	KEY_SERIAL,
	KEY_FORCE,
	KEY_CLEAR,
	KEY_UNLOCK,
	KEY_PASSWORD_FILE,
	KEY_TIMEOUT,
	KEY_INTERVAL,
	KEY_COUNT,
	KEY_PIPELINE,
	KEY_ONE_RECV,
	KEY_RECONNECT,
	KEY_EXPECT,
	KEY_VERIFY,
	KEY_JSON,
	KEY_HEX,
	KEY_CERT,
	KEY_KEY,
	KEY_P12,
	KEY_P12_PASSWORD_FILE,
	KEY_CA,
	KEY_CRL,
	KEY_SERVER_NAME,
	KEY_SNI,
	KEY_ALPN,
	KEY_TLS12,
	KEY_TLS13,
};

static const struct argp_option argp_options[] = {
	{NULL, 0, NULL, 0, "Frames", 1},
	{"frame", KEY_FRAME, "3e|4e|1e", 0, "frame family (3e)", 0},
	{"code", KEY_CODE, "binary|ascii", 0, "as the PLC's port is set (binary)", 0},
	{"iqr", KEY_IQR, NULL, 0, "iQ-R form of devices (subcommands 0002, 0003)", 0},
	{"words", KEY_WORDS, NULL, 0, "bit devices in word units: 16 bits a point", 0},
	{"bits", KEY_BITS, NULL, 0, "word devices in bit units: a PLC refuses that", 0},
	{"route", KEY_ROUTE, "NET,PC,IO,ST", 0, "access route, hexadecimal (00,FF,03FF,00)", 0},
	{"timer", KEY_TIMER, "N", 0, "monitoring timer, units of 250 ms (16)", 0},
	{"serial", KEY_SERIAL, "N", 0, "4E: first serial number (1)", 0},
	{"force", KEY_FORCE, NULL, 0, "run, pause: although another station has stopped it", 0},
	{"clear", KEY_CLEAR, "0|1|2", 0, "run: clear nothing, all but latches, all devices (0)", 0},
	{NULL, 0, NULL, 0, "Password", 2},
	{"unlock", KEY_UNLOCK, NULL, 0, "unlock first, on the same connection", 0},
	{"password-file", KEY_PASSWORD_FILE, "FILE", 0, "its first line is the remote password", 0},
	{NULL, 0, NULL, 0, "Time and number", 3},
	{"timeout", KEY_TIMEOUT, "TIME", 0, "for connecting and for each answer (3s)", 0},
	{"interval", KEY_INTERVAL, "TIME", 0, "from request to request (1s; 0 = at once)", 0},
	{"count", KEY_COUNT, "N", 0, "number of requests (1; poll: until ^C)", 0},
	{"repeat", KEY_COUNT, "N", OPTION_ALIAS, NULL, 0},
	{"pipeline", KEY_PIPELINE, "N", 0, "poll: send N requests before their answers (1)", 0},
	{"reconnect", KEY_RECONNECT, NULL, 0, "poll: dial again when the connection is lost", 0},
	{NULL, 0, NULL, 0, "Answers", 4},
	{"expect", KEY_EXPECT, "V,V...", 0, "read, poll: the values that must come", 0},
	{"verify", KEY_VERIFY, NULL, 0, "poll: every answer must be as the first", 0},
	{"one-recv", KEY_ONE_RECV, NULL, 0,
	 "as naive clients: one recv per answer, wrong if that is not the whole answer", 0},
	{"hex", KEY_HEX, NULL, 0, "print words in hexadecimal", 0},
	{"json", KEY_JSON, NULL, 0, "print JSON, one object a line", 0},
	{"verbose", 'v', NULL, 0, "say what was negotiated", 0},
	{NULL, 0, NULL, 0, "TLS (any of these turns it on; --ca is needed)", 5},
	{"cert", KEY_CERT, "FILE", 0, "own certificate, PEM", 0},
	{"key", KEY_KEY, "FILE", 0, "its key, PEM", 0},
	{"p12", KEY_P12, "FILE", 0, "both, PKCS#12", 0},
	{"p12-password-file", KEY_P12_PASSWORD_FILE, "FILE", 0, "first line: password of --p12", 0},
	{"ca", KEY_CA, "FILE", 0, "CA of the gateway, PEM", 0},
	{"crl", KEY_CRL, "FILE", 0, "its revocation list", 0},
	{"server-name", KEY_SERVER_NAME, "NAME", 0,
	 "DNS name or address that must be in the gateway's certificate (HOST)", 0},
	{"sni", KEY_SNI, "NAME", 0, "server name to ask for, or none (the DNS name checked)", 0},
	{"alpn", KEY_ALPN, "NAME", 0, "application protocol to offer, or none (none)", 0},
	{"tls12", KEY_TLS12, NULL, 0, "at most TLS 1.2", 0},
	{"tls13", KEY_TLS13, NULL, 0, "at least TLS 1.3", 0},
	{0},
};

/* Ends here; without the exit(3) analysers go on with what was just refused. */
#define usage_error(state, ...)                                                                    \
	do {                                                                                       \
		argp_error(state, __VA_ARGS__);                                                    \
		exit(EXIT_USAGE);                                                                  \
	} while (0)

/* --- values ----------------------------------------------------------------------------------- */

/* A number in C notation within [low, high]; anything else is a usage error. */
static long number(struct argp_state *state, const char *what, const char *text, int base, long low,
		   long high)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, base);
	if (errno || end == text || *end || value < low || value > high)
		usage_error(state, "%s: a number from %ld to %ld, not \"%s\"", what, low, high,
			    text);
	return value;
}

/* "100ms", "1.5s", "200us"; without a unit: seconds. */
static clock_us duration(struct argp_state *state, const char *what, const char *text)
{
	char *end;
	double value = strtod(text, &end);
	double unit = strcmp(end, "ms") == 0 ? CLOCK_MS : strcmp(end, "us") == 0 ? 1 : CLOCK_SEC;

	if (end == text || value < 0 || value * unit > 86400.0 * CLOCK_SEC ||
	    (*end && strcmp(end, "s") != 0 && unit == CLOCK_SEC))
		usage_error(state, "%s: a time like 100ms or 1.5s, not \"%s\"", what, text);
	return (clock_us)(value * unit);
}

static void set_route(struct argp_state *state, struct mc_route *route, char *text)
{
	static const long most[] = {0xff, 0xff, 0xffff, 0xff};
	long parts[4] = {0};
	char *rest = text;

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		char *part = strsep(&rest, ",");

		if (!part || (i == 3 && rest))
			usage_error(state, "--route: four hexadecimal numbers, like 00,FF,03FF,00");
		parts[i] = number(state, "--route", part, 16, 0, most[i]);
	}
	*route = (struct mc_route){(uint8_t)parts[0], (uint8_t)parts[1], (uint16_t)parts[2],
				   (uint8_t)parts[3]};
}

static void set_family(struct argp_state *state, struct options *options, const char *text)
{
	if (strcasecmp(text, "3e") == 0)
		options->style.family = MC_FAMILY_3E;
	else if (strcasecmp(text, "4e") == 0)
		options->style.family = MC_FAMILY_4E;
	else if (strcasecmp(text, "1e") == 0)
		options->style.family = MC_FAMILY_1E;
	else
		usage_error(state, "--frame: 3e, 4e or 1e, not \"%s\"", text);
}

static void set_code(struct argp_state *state, struct options *options, const char *text)
{
	if (strcmp(text, "binary") != 0 && strcmp(text, "ascii") != 0)
		usage_error(state, "--code: binary or ascii, not \"%s\"", text);
	options->style.code = text[0] == 'a' ? MC_CODE_ASCII : MC_CODE_BINARY;
}

/* --- HOST:PORT and the command ---------------------------------------------------------------- */

static void set_host(struct argp_state *state, struct options *options, const char *text)
{
	const char *colon = strrchr(text, ':');
	bool bracket = text[0] == '[' && colon && colon > text && colon[-1] == ']';
	size_t length = colon ? (size_t)(colon - text) : 0;

	if (bracket) {
		text++;
		length -= 2;
	}
	if (!colon || length == 0 || length >= sizeof(options->host) ||
	    (!bracket && memchr(text, ':', length)))
		usage_error(state, "where to? HOST:PORT or [IPv6]:PORT, not \"%s\"", text);
	memcpy(options->host, text, length);
	number(state, "port", colon + 1, 10, 1, 65535);
	strncpy(options->port, colon + 1, sizeof(options->port) - 1);
	options->target.host = options->host;
	options->target.port = options->port;
}

static void set_device(struct argp_state *state, struct options *options, const char *text)
{
	struct request *request = &options->request;

	if (mc_device_parse(text, &request->device, &request->number))
		usage_error(state, "\"%s\" is no device (like D100, M0, X1F, W1A0)", text);
	request->bits = options->bit_units ||
			(request->device->kind == MC_DEVICE_BIT && !options->word_units);
	request->points = 1;
	/* What has no 1-byte code exists in the iQ-R form only. */
	if (options->style.family != MC_FAMILY_1E && !request->device->code)
		options->style.long_form = true;
}

static void set_values(struct argp_state *state, struct options *options, char **words,
		       unsigned count)
{
	struct request *request = &options->request;

	options->values = calloc(count, sizeof(*options->values));
	for (unsigned i = 0; i < count && options->values; i++)
		options->values[i] =
			(uint16_t)number(state, "value", words[i], 0, request->bits ? 0 : INT16_MIN,
					 request->bits ? 1 : UINT16_MAX);
	request->values = options->values;
	request->points = count;
}

static void set_words(struct argp_state *state, struct options *options, char **words,
		      unsigned count)
{
	struct request *request = &options->request;
	long most = options->style.family == MC_FAMILY_1E ? 256 : UINT16_MAX;

	if (request->kind == REQUEST_SELFTEST)
		request->text = count ? words[0] : SELFTEST_DEFAULT;
	if (request->kind != REQUEST_READ && request->kind != REQUEST_WRITE)
		return;
	set_device(state, options, words[0]);
	if (request->kind == REQUEST_WRITE)
		set_values(state, options, words + 1, count - 1);
	else if (count > 1)
		request->points = (uint32_t)number(state, "points", words[1], 10, 0, most);
}

static void set_command(struct argp_state *state, struct options *options, char **words,
			unsigned count)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *command = &commands[i];

		if (strcmp(command->name, words[0]) != 0)
			continue;
		if (count - 1 < command->least || count - 1 > command->most)
			usage_error(state, "type: mcping HOST:PORT %s %s", command->name,
				    command->form);
		options->command = command->name;
		options->poll = strcmp(command->name, "poll") == 0;
		options->request.kind = command->kind;
		set_words(state, options, words + 1, count - 1);
		return;
	}
	usage_error(state, "no such command: %s", words[0]);
}

/* --- rules across options --------------------------------------------------------------------- */

static void check_tls(struct argp_state *state, struct options *options)
{
	const struct tls_options *tls = &options->tls;

	if (!tls->certificate && !tls->key && !tls->p12 && !tls->ca && !tls->crl &&
	    !tls->server_name && !tls->sni && !tls->alpn && !tls->max_tls12 && !tls->min_tls13)
		return;
	if (!tls->ca)
		usage_error(state,
			    "TLS needs --ca FILE: the CA that signed the gateway's certificate");
	if (tls->p12 && (tls->certificate || tls->key))
		usage_error(state, "--p12 or --cert and --key, not both");
	if (tls->key && !tls->certificate)
		usage_error(state, "--key needs --cert");
	if (tls->max_tls12 && tls->min_tls13)
		usage_error(state, "--tls12 and --tls13 exclude each other");
	options->target.tls = tls;
}

/* Exactly as many values as points are read. */
static void set_expected(struct argp_state *state, struct options *options)
{
	uint32_t points = options->request.points, count = 0;
	char *rest = options->expected_text, *part;

	if (options->request.kind != REQUEST_READ)
		usage_error(state, "--expect is for read and poll");
	options->expected = calloc(points + 1, sizeof(*options->expected));
	while (options->expected && (part = strsep(&rest, ",")) && count++ < points)
		options->expected[count - 1] =
			(uint16_t)number(state, "--expect", part, 0, INT16_MIN, UINT16_MAX);
	if (count != points)
		usage_error(state, "--expect wants %u values, as many as points", points);
}

static void check_rules(struct argp_state *state, struct options *options)
{
	const struct request *request = &options->request;

	check_tls(state, options);
	if (options->word_units && options->bit_units)
		usage_error(state, "--words and --bits exclude each other");
	if (options->style.family == MC_FAMILY_1E &&
	    (options->unlock_first || request->kind == REQUEST_UNLOCK ||
	     request->kind == REQUEST_LOCK || request->kind >= REQUEST_PAUSE))
		usage_error(state, "1E frames know no password, pause, latch-clear or reset");
	if (options->style.family == MC_FAMILY_1E && request->device && !request->device->code_1e)
		usage_error(state, "1E frames know no device %s", request->device->name);
	if (options->pipeline > 1 &&
	    (!options->poll || options->one_recv || options->style.family == MC_FAMILY_1E))
		usage_error(state, "--pipeline is for poll, 3E or 4E, without --one-recv");
	if (options->expected_text)
		set_expected(state, options);
	if ((options->verify || options->reconnect) && !options->poll)
		usage_error(state, "--verify and --reconnect are for poll");
}

/* --- argp ------------------------------------------------------------------------------------- */

static error_t parse_tls_option(int key, char *argument, struct tls_options *tls)
{
	switch (key) {
	case KEY_CERT:
		tls->certificate = argument;
		break;
	case KEY_KEY:
		tls->key = argument;
		break;
	case KEY_P12:
		tls->p12 = argument;
		break;
	case KEY_P12_PASSWORD_FILE:
		tls->p12_password_file = argument;
		break;
	case KEY_CA:
		tls->ca = argument;
		break;
	case KEY_CRL:
		tls->crl = argument;
		break;
	case KEY_SERVER_NAME:
		tls->server_name = argument;
		break;
	case KEY_SNI:
		tls->sni = argument;
		break;
	case KEY_ALPN:
		tls->alpn = argument;
		break;
	case KEY_TLS12:
		tls->max_tls12 = true;
		break;
	case KEY_TLS13:
		tls->min_tls13 = true;
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static error_t parse_frame_option(int key, char *argument, struct argp_state *state,
				  struct options *options)
{
	switch (key) {
	case KEY_FRAME:
		set_family(state, options, argument);
		break;
	case KEY_CODE:
		set_code(state, options, argument);
		break;
	case KEY_IQR:
		options->style.long_form = true;
		break;
	case KEY_WORDS:
		options->word_units = true;
		break;
	case KEY_BITS:
		options->bit_units = true;
		break;
	case KEY_ROUTE:
		set_route(state, &options->style.route, argument);
		break;
	case KEY_TIMER:
		options->style.timer =
			(uint16_t)number(state, "--timer", argument, 0, 0, UINT16_MAX);
		break;
	case KEY_SERIAL:
		options->style.serial =
			(uint16_t)number(state, "--serial", argument, 0, 0, UINT16_MAX);
		break;
	case KEY_FORCE:
		options->request.force = true;
		break;
	case KEY_CLEAR:
		options->request.clear = (uint8_t)number(state, "--clear", argument, 10, 0, 2);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static error_t parse_run_option(int key, char *argument, struct argp_state *state,
				struct options *options)
{
	switch (key) {
	case KEY_UNLOCK:
		options->unlock_first = true;
		break;
	case KEY_PASSWORD_FILE:
		options->password_file = argument;
		break;
	case KEY_TIMEOUT:
		options->timeout = duration(state, "--timeout", argument);
		break;
	case KEY_INTERVAL:
		options->interval = duration(state, "--interval", argument);
		break;
	case KEY_COUNT:
		options->count = (uint64_t)number(state, "--count", argument, 10, 1, LONG_MAX);
		break;
	case KEY_PIPELINE:
		options->pipeline = (unsigned)number(state, "--pipeline", argument, 10, 1, 1000);
		break;
	case KEY_RECONNECT:
		options->reconnect = true;
		break;
	case KEY_EXPECT:
		options->expected_text = argument;
		break;
	case KEY_VERIFY:
		options->verify = true;
		break;
	case KEY_ONE_RECV:
		options->one_recv = true;
		break;
	case KEY_HEX:
		options->hexadecimal = true;
		break;
	case KEY_JSON:
		options->json = true;
		break;
	case 'v':
		options->verbose = true;
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
	struct options *options = state->input;

	if (key == ARGP_KEY_ARGS) {
		char **words = state->argv + state->next;
		unsigned count = (unsigned)(state->argc - state->next);

		if (count < 2)
			usage_error(state, "type: mcping %s", arguments_form);
		set_host(state, options, words[0]);
		set_command(state, options, words + 1, count - 1);
		check_rules(state, options);
		return 0;
	}
	if (key == ARGP_KEY_NO_ARGS)
		argp_usage(state);
	if (parse_tls_option(key, argument, &options->tls) == 0 ||
	    parse_frame_option(key, argument, state, options) == 0)
		return 0;
	return parse_run_option(key, argument, state, options);
}

static void print_version(FILE *stream, struct argp_state *state)
{
	(void)state;
	fprintf(stream, "mcping %s\n", MCSEAL_VERSION);
}

void options_parse(struct options *options, int argc, char **argv)
{
	static const struct argp argp = {
		.options = argp_options,
		.parser = parse_option,
		.args_doc = arguments_form,
		.doc = documentation,
	};

	*options = (struct options){
		.style = {.family = MC_FAMILY_3E, .route = MC_ROUTE_OWN, .timer = 16, .serial = 1},
		.timeout = TIMEOUT_DEFAULT,
		.interval = INTERVAL_DEFAULT,
		.pipeline = 1,
	};
	argp_err_exit_status = EXIT_USAGE;
	argp_program_version_hook = print_version;
	argp_parse(&argp, argc, argv, 0, NULL, options);
	if (!options->count && !options->poll)
		options->count = 1;
}

void options_free(struct options *options)
{
	free(options->values);
	free(options->expected);
}
