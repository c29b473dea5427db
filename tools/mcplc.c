/* SPDX-License-Identifier: Apache-2.0 */
/* mcplc: a simulated MELSEC PLC to develop and test against. docs/mcplc.md is its manual. */
#include "base/error.h"
#include "mcplc_server.h"

#include <argp.h>
#include <errno.h>
#include <string.h>

#define DEFAULT_PORT "127.0.0.1:5007"

const char *argp_program_version = "mcplc " MCSEAL_VERSION;

static const char DOC[] =
	"A simulated Mitsubishi PLC: answers 3E, 4E and 1E frames of the MC protocol in binary and "
	"ASCII code over TCP, with devices that remember what was written, a CPU that can be "
	"stopped, a remote password and real end codes.\v"
	"Prints \"mcplc: ready ADDRESS:PORT\" for each port when it listens. SIGTERM or SIGINT end "
	"it with exit status 0.\n\n"
	"Examples:\n"
	"  mcplc --listen 127.0.0.1:5007 --set D100=4660,2 --set M0=1,0,1\n"
	"  mcplc --password 1234 --connections 1 --log requests.log\n"
	"  mcplc --delay 4 --split 7,2     slow, with answers in small pieces\n\n"
	"A training aid, not a safety function, and no PLC: it runs no program.";

enum key {
	KEY_LISTEN = 'l',
	KEY_CODE = 'c',
	KEY_PASSWORD = 'p',
	KEY_DELAY = 'd',
	KEY_CONNECTIONS = 'n',
	KEY_SET = 's',
	KEY_LOG = 'o',
	KEY_QUIET = 'q',
	KEY_SPLIT = 0x100,
	KEY_DROP_PIPELINED,
	KEY_MODEL,
	KEY_DEVICE_LIMITS,
	KEY_STATION,
};

static const struct argp_option OPTIONS[] = {
	{NULL, 0, NULL, 0, "Network", 1},
	{"listen", KEY_LISTEN, "ADDR:PORT", 0,
	 "IPv4 or [IPv6] address to listen on; may be given again; port 0 takes a free one "
	 "(default " DEFAULT_PORT ")",
	 0},
	{"connections", KEY_CONNECTIONS, "N", 0,
	 "connections a port takes at once; a further one is accepted and reset (RST) at once "
	 "(default: no limit)",
	 0},
	{NULL, 0, NULL, 0, "Protocol", 2},
	{"code", KEY_CODE, "auto|binary|ascii", 0,
	 "data code of the ports; a request in the other code gets no answer at all "
	 "(default auto: each request in its own)",
	 0},
	{"password", KEY_PASSWORD, "TEXT", 0,
	 "remote password, 1 to 32 characters: a connection is locked until it sends 1630", 0},
	{"station", KEY_STATION, "NET/PC/MODULE/STATION", 0,
	 "hexadecimal access route that is answered, too, such as 01/02/03FF/00; may be given "
	 "again; any route but this and the own station gets C05F",
	 0},
	{NULL, 0, NULL, 0, "CPU and devices", 3},
	{"model", KEY_MODEL, "NAME,CODE[,CODE1E]", 0,
	 "CPU model name (up to 16 characters), hexadecimal model code, and the code that 1E "
	 "clients get (default Q03UDVCPU,0366,F3)",
	 0},
	{"set", KEY_SET, "DEVICE=VALUE[,...]", 0,
	 "initial values from a device on, decimal or 0x...; may be given again", 0},
	{"device-limits", KEY_DEVICE_LIMITS, "DEVICE=POINTS[,...]", 0,
	 "number of points of devices (0: the CPU lacks it); give it before --set", 0},
	{NULL, 0, NULL, 0, "Behaviour", 4},
	{"delay", KEY_DELAY, "MS", 0, "milliseconds before each answer, 3.7 for instance", 0},
	{"split", KEY_SPLIT, "BYTES[,MS]", 0,
	 "send answers in pieces of so many bytes, so many milliseconds apart (default 1)", 0},
	{"drop-pipelined", KEY_DROP_PIPELINED, NULL, 0,
	 "lose a request that arrives while one is being worked on", 0},
	{NULL, 0, NULL, 0, "Output", 5},
	{"log", KEY_LOG, "FILE", 0,
	 "append a line for each connection and request to FILE (- is stdout); never holds a "
	 "password",
	 0},
	{"quiet", KEY_QUIET, NULL, 0, "do not show those lines on stderr as well", 0},
	{NULL, 0, NULL, 0, NULL, 0},
};

struct options {
	struct mcplc_server_options server;
	struct mcplc_cpu *cpu;
	const char *log;
	bool quiet;
};

static clock_us milliseconds(struct argp_state *state, const char *text)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value >= 0 && value <= 3600000))
		argp_error(state, "not a time in milliseconds: %s", text);
	return (clock_us)(value * CLOCK_MS);
}

static size_t number(struct argp_state *state, const char *text, unsigned long max)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = strtoul(text, &end, 10);
	if (end == text || *end || errno || value < 1 || value > max)
		argp_error(state, "expected a number from 1 to %lu: %s", max, text);
	return value;
}

static unsigned long hexadecimal(struct argp_state *state, const char *text, unsigned long max)
{
	char *end;
	unsigned long value;

	errno = 0;
	value = text ? strtoul(text, &end, 16) : 0;
	if (!text || end == text || *end || errno || value > max)
		argp_error(state, "expected a hexadecimal number up to %lX: %s", max,
			   text ? text : "missing");
	return value;
}

static void add_port(struct argp_state *state, struct mcplc_server_options *server,
		     const char *text)
{
	if (server->port_count == MCPLC_PORTS_MAX)
		argp_error(state, "more than %d ports", MCPLC_PORTS_MAX);
	if (address_parse(text, &server->ports[server->port_count++]) < 0)
		argp_error(state, "expected ADDR:PORT or [ADDR]:PORT, not %s", text);
}

static void set_code(struct argp_state *state, struct mcplc_server_options *server,
		     const char *text)
{
	if (strcmp(text, "auto") == 0)
		server->code = MCPLC_CODE_AUTO;
	else if (strcmp(text, "binary") == 0)
		server->code = MCPLC_CODE_BINARY;
	else if (strcmp(text, "ascii") == 0)
		server->code = MCPLC_CODE_ASCII;
	else
		argp_error(state, "the code is auto, binary or ascii, not %s", text);
}

static void set_password(struct argp_state *state, struct mcplc_cpu *cpu, char *text)
{
	size_t size = strlen(text);

	if (size < 1 || size > MCPLC_PASSWORD_MAX)
		argp_error(state, "a password has 1 to %d characters", MCPLC_PASSWORD_MAX);
	memcpy(cpu->password, text, size + 1);
	/* Not for everybody who can see the process list. */
	explicit_bzero(text, size);
}

static void set_split(struct argp_state *state, struct mcplc_server_options *server, char *text)
{
	const char *size = strsep(&text, ",");

	server->split = number(state, size, MCPLC_ANSWER_SIZE);
	server->split_gap = text ? milliseconds(state, text) : CLOCK_MS;
}

static void set_model(struct argp_state *state, struct mcplc_cpu *cpu, char *text)
{
	const char *name = strsep(&text, ",");
	const char *code = strsep(&text, ",");

	if (strlen(name) > MCPLC_MODEL_SIZE)
		argp_error(state, "a model name has up to %d characters", MCPLC_MODEL_SIZE);
	snprintf(cpu->model, sizeof(cpu->model), "%.*s", MCPLC_MODEL_SIZE, name);
	cpu->model_code = (uint16_t)hexadecimal(state, code, 0xffff);
	if (text)
		cpu->model_code_1e = (uint8_t)hexadecimal(state, text, 0xff);
}

static void add_station(struct argp_state *state, struct mcplc_cpu *cpu, char *text)
{
	struct mc_route *route = &cpu->stations[cpu->station_count];

	if (cpu->station_count == MCPLC_STATIONS_MAX)
		argp_error(state, "more than %d stations", MCPLC_STATIONS_MAX);
	route->network = (uint8_t)hexadecimal(state, strsep(&text, "/"), 0xff);
	route->pc = (uint8_t)hexadecimal(state, strsep(&text, "/"), 0xff);
	route->module = (uint16_t)hexadecimal(state, strsep(&text, "/"), 0xffff);
	route->station = (uint8_t)hexadecimal(state, strsep(&text, "/"), 0xff);
	cpu->station_count++;
}

static error_t parse_behaviour(int key, char *text, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case KEY_DELAY:
		options->server.delay = milliseconds(state, text);
		return 0;
	case KEY_SPLIT:
		set_split(state, &options->server, text);
		return 0;
	case KEY_DROP_PIPELINED:
		options->server.drop_pipelined = true;
		return 0;
	case KEY_LOG:
		options->log = text;
		return 0;
	case KEY_QUIET:
		options->quiet = true;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static error_t parse_option(int key, char *text, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case KEY_LISTEN:
		add_port(state, &options->server, text);
		return 0;
	case KEY_CONNECTIONS:
		options->server.connections = number(state, text, 1000000);
		return 0;
	case KEY_CODE:
		set_code(state, &options->server, text);
		return 0;
	case KEY_PASSWORD:
		set_password(state, options->cpu, text);
		return 0;
	case KEY_STATION:
		add_station(state, options->cpu, text);
		return 0;
	case KEY_MODEL:
		set_model(state, options->cpu, text);
		return 0;
	case KEY_SET:
		if (mcplc_memory_set_text(options->cpu->memory, text) < 0)
			argp_usage(state);
		return 0;
	case KEY_DEVICE_LIMITS:
		if (mcplc_memory_limit_text(options->cpu->memory, text) < 0)
			argp_usage(state);
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "unexpected argument: %s", text);
		return EINVAL;
	default:
		return parse_behaviour(key, text, state);
	}
}

static int open_log(const struct options *options, struct mcplc_log *log)
{
	*log = (struct mcplc_log){.file = NULL, .echo = options->quiet ? NULL : stderr};
	if (!options->log)
		return 0;
	log->file = strcmp(options->log, "-") == 0 ? stdout : fopen(options->log, "ae");
	if (log->file)
		return 0;
	fprintf(stderr, "mcplc: cannot open %s: %s\n", options->log, strerror(errno));
	return -errno;
}

int main(int argc, char **argv)
{
	static const struct argp PARSER = {OPTIONS, parse_option, NULL, DOC, NULL, NULL, NULL};
	struct mcplc_cpu cpu = {.memory = mcplc_memory_new(),
				.model = "Q03UDVCPU",
				.model_code = 0x0366,
				.model_code_1e = 0xf3};
	struct options options = {.cpu = &cpu};
	struct mcplc_log log;
	int error;

	if (!cpu.memory) {
		fprintf(stderr, "mcplc: out of memory\n");
		return EXIT_FAILURE;
	}
	argp_parse(&PARSER, argc, argv, 0, NULL, &options);
	if (options.server.port_count == 0)
		address_parse(DEFAULT_PORT, &options.server.ports[options.server.port_count++]);
	error = open_log(&options, &log);
	if (!error) {
		mcplc_cpu_enter(&cpu, MCPLC_RUN);
		error = mcplc_server_run(&options.server, &cpu, &log);
	}
	if (log.file && log.file != stdout)
		fclose(log.file);
	mcplc_memory_free(cpu.memory);
	explicit_bzero(&cpu, sizeof(cpu));
	return error ? EXIT_FAILURE : EXIT_SUCCESS;
}
