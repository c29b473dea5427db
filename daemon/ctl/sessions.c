/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * The daemon gives pages, newest first, of one JSON object a line; an empty one is the end. They
 * are put together in the order of the sessions' numbers, and printed as they are or as a table,
 * whose columns are as wide as what stands in them.
 */
#include "ctl/sessions.h"

#include "base/clock.h"
#include "ctl/output.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#define CELL_SIZE 300 /* a name of the configuration, at most */
#define PAGES_MAX 1000

/* Oldest first. */
struct rows {
	json_t **items;
	size_t count, room;
};

/* --- the columns ---------------------------------------------------------------------------- */

static const char *text_of(const json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));

	return text != NULL ? text : "-";
}

static long long number_of(const json_t *row, const char *key)
{
	return json_integer_value(json_object_get(row, key));
}

static void put_session(const json_t *row, char *cell)
{
	snprintf(cell, CELL_SIZE, "%lld", number_of(row, "session"));
}

static void put_listener(const json_t *row, char *cell)
{
	snprintf(cell, CELL_SIZE, "%s %s", text_of(row, "role"), text_of(row, "listener"));
}

/* "relaying", "relaying, ending". */
static void put_state(const json_t *row, char *cell)
{
	bool ending = json_is_true(json_object_get(row, "ending"));

	snprintf(cell, CELL_SIZE, "%s%s", text_of(row, "state"), ending ? ", ENDING" : "");
	for (char *c = cell; *c != '\0' && *c != ','; c++)
		*c = (char)(*c >= 'A' && *c <= 'Z' ? *c - 'A' + 'a' : *c);
}

static void put_identity(const json_t *row, char *cell)
{
	snprintf(cell, CELL_SIZE, "%s", text_of(row, "identity"));
}

static void put_client(const json_t *row, char *cell)
{
	snprintf(cell, CELL_SIZE, "%s", text_of(row, "client"));
}

/* An edge knows no names of PLCs. */
static void put_plc(const json_t *row, char *cell)
{
	const char *plc = text_of(row, "plc"), *destination = text_of(row, "destination");
	const char *port = strrchr(destination, ':');

	if (*plc == '-' && plc[1] == '\0')
		snprintf(cell, CELL_SIZE, "%s", destination);
	else
		snprintf(cell, CELL_SIZE, "%s%s", plc, port != NULL ? port : "");
}

static void put_age(const json_t *row, char *cell)
{
	long long age = (long long)json_number_value(json_object_get(row, "seconds"));

	if (age < 60)
		snprintf(cell, CELL_SIZE, "%llds", age);
	else if (age < 3600)
		snprintf(cell, CELL_SIZE, "%lldm%02llds", age / 60, age % 60);
	else if (age < 86400)
		snprintf(cell, CELL_SIZE, "%lldh%02lldm", age / 3600, age / 60 % 60);
	else
		snprintf(cell, CELL_SIZE, "%lldd%02lldh", age / 86400, age / 3600 % 24);
}

static void put_requests(const json_t *row, char *cell)
{
	snprintf(cell, CELL_SIZE, "%lld", number_of(row, "requests"));
}

static void put_refused(const json_t *row, char *cell)
{
	snprintf(cell, CELL_SIZE, "%lld", number_of(row, "refused"));
}

/* Six characters at most: 123456, 1234K, 12.3M as 12M. */
static void put_bytes(long long bytes, char *cell)
{
	static const char UNITS[] = "\0KMGTP";
	size_t unit = 0;

	while (bytes >= 1000000) {
		bytes /= 1000;
		unit++;
	}
	snprintf(cell, CELL_SIZE, "%lld%c", bytes, UNITS[unit]);
}

static void put_to_plc(const json_t *row, char *cell)
{
	put_bytes(number_of(row, "bytes_to_plc"), cell);
}

static void put_from_plc(const json_t *row, char *cell)
{
	put_bytes(number_of(row, "bytes_from_plc"), cell);
}

static void put_latency(const json_t *row, char *cell)
{
	const json_t *latency = json_object_get(row, "latency_microseconds");

	if (json_is_integer(latency))
		snprintf(cell, CELL_SIZE, "%.3fms", (double)json_integer_value(latency) / 1000);
	else
		snprintf(cell, CELL_SIZE, "-");
}

static void put_tls(const json_t *row, char *cell)
{
	snprintf(cell, CELL_SIZE, "%s", text_of(row, "tls"));
}

static void put_cipher(const json_t *row, char *cell)
{
	snprintf(cell, CELL_SIZE, "%s", text_of(row, "cipher"));
}

static void put_records(const json_t *row, char *cell)
{
	snprintf(cell, CELL_SIZE, "%s", text_of(row, "records"));
}

static void put_engine(const json_t *row, char *cell)
{
	snprintf(cell, CELL_SIZE, "%s", text_of(row, "engine"));
}

static const struct column {
	const char *title;
	void (*put)(const json_t *row, char *cell); /* CELL_SIZE */
	bool right;                                 /* numbers */
} COLUMNS[] = {
	{"SESSION", put_session, true},   {"AT", put_listener, false},
	{"STATE", put_state, false},      {"IDENTITY", put_identity, false},
	{"CLIENT", put_client, false},    {"PLC", put_plc, false},
	{"AGE", put_age, true},           {"REQUESTS", put_requests, true},
	{"REFUSED", put_refused, true},   {"TO-PLC", put_to_plc, true},
	{"FROM-PLC", put_from_plc, true}, {"LATENCY", put_latency, true},
	{"TLS", put_tls, false},          {"CIPHER", put_cipher, false},
	{"RECORDS", put_records, false},  {"ENGINE", put_engine, false},
};

#define COLUMN_COUNT (sizeof(COLUMNS) / sizeof(COLUMNS[0]))

/* --- the table ------------------------------------------------------------------------------ */

static void measure(const struct rows *rows, int *widths)
{
	char cell[CELL_SIZE];

	for (size_t i = 0; i < COLUMN_COUNT; i++) {
		size_t width = strlen(COLUMNS[i].title);

		for (size_t j = 0; j < rows->count; j++) {
			COLUMNS[i].put(rows->items[j], cell);
			width = strlen(cell) > width ? strlen(cell) : width;
		}
		widths[i] = (int)width;
	}
}

static void put_cell(size_t column, int width, const char *text)
{
	const char *gap = column > 0 ? "  " : "";

	if (column == COLUMN_COUNT - 1)
		printf("%s%s\n", gap, text);
	else
		printf("%s%*s", gap, COLUMNS[column].right ? width : -width, text);
}

static void print_table(const struct rows *rows)
{
	int widths[COLUMN_COUNT];
	char cell[CELL_SIZE];

	measure(rows, widths);
	for (size_t i = 0; i < COLUMN_COUNT; i++)
		put_cell(i, widths[i], COLUMNS[i].title);
	for (size_t j = 0; j < rows->count; j++) {
		for (size_t i = 0; i < COLUMN_COUNT; i++) {
			COLUMNS[i].put(rows->items[j], cell);
			put_cell(i, widths[i], cell);
		}
	}
	printf("%zu session%s\n", rows->count, rows->count != 1 ? "s" : "");
}

static void print_lines(const struct rows *rows)
{
	for (size_t i = 0; i < rows->count; i++) {
		json_dumpf(rows->items[i], stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
		putchar('\n');
	}
}

/* --- the pages ------------------------------------------------------------------------------ */

static void drop_rows(struct rows *rows)
{
	for (size_t i = 0; i < rows->count; i++)
		json_decref(rows->items[i]);
	free(rows->items);
	*rows = (struct rows){.items = NULL};
}

/* Takes `row`. */
static int add(struct rows *rows, json_t *row)
{
	size_t room = rows->room > 0 ? 2 * rows->room : 64;
	json_t **items = rows->items;

	if (rows->count == rows->room) {
		items = reallocarray(items, room, sizeof(json_t *));
		if (items == NULL) {
			json_decref(row);
			return -ENOMEM;
		}
		rows->items = items;
		rows->room = room;
	}
	rows->items[rows->count++] = row;
	return 0;
}

/* The rows of a page, each below the one before. 0, -ENOMEM or -EPROTO. */
static int take_page(const struct call_answer *answer, struct rows *rows)
{
	const char *at = answer->body, *end = at + answer->size, *line;
	int error = 0;

	for (; at < end && error == 0; at = line + 1) {
		json_t *row;

		line = memchr(at, '\n', (size_t)(end - at));
		if (line == NULL)
			return -EPROTO;
		row = json_loadb(at, (size_t)(line - at), 0, NULL);
		if (!json_is_object(row) || number_of(row, "session") <= 0 ||
		    (rows->count > 0 &&
		     number_of(row, "session") >=
			     number_of(rows->items[rows->count - 1], "session"))) {
			json_decref(row);
			return -EPROTO;
		}
		error = add(rows, row);
	}
	return error;
}

static void turn_round(struct rows *rows)
{
	for (size_t i = 0; i < rows->count / 2; i++) {
		json_t *row = rows->items[i];

		rows->items[i] = rows->items[rows->count - 1 - i];
		rows->items[rows->count - 1 - i] = row;
	}
}

static int fetch_page(const char *socket, const char *question, struct rows *rows)
{
	struct call_answer answer;
	int status = EXIT_DONE, error = 0;

	if (call_daemon(socket, question, &answer) < 0)
		status = output_unanswered(&answer);
	else
		error = take_page(&answer, rows);
	call_answer_deinit(&answer);
	if (error == -ENOMEM)
		return output_fail("sessions", "out of memory");
	return error < 0 ? output_not_understood() : status;
}

static int fetch(const char *socket, struct rows *rows)
{
	char question[40] = "sessions";
	int status = EXIT_DONE;

	for (unsigned int page = 0; page < PAGES_MAX && status == EXIT_DONE; page++) {
		size_t before = rows->count;

		status = fetch_page(socket, question, rows);
		if (rows->count == before)
			break;
		snprintf(question, sizeof(question), "sessions %lld",
			 number_of(rows->items[rows->count - 1], "session"));
	}
	turn_round(rows);
	return status;
}

/* --- once, or again and again --------------------------------------------------------------- */

static int show_once(const struct options *options)
{
	struct rows rows = {.items = NULL};
	int status = fetch(options->socket, &rows);

	if (status == EXIT_DONE && options->watch && isatty(STDOUT_FILENO))
		printf("\033[H\033[2J"); /* home, clear: ECMA-48 CUP and ED */
	if (status == EXIT_DONE && options->json)
		print_lines(&rows);
	else if (status == EXIT_DONE)
		print_table(&rows);
	drop_rows(&rows);
	return status == EXIT_DONE ? output_end() : status;
}

int sessions_run(const struct options *options)
{
	struct timespec pause = {.tv_sec = options->interval / CLOCK_SEC,
				 .tv_nsec = options->interval % CLOCK_SEC * 1000};
	int status = show_once(options);

	while (options->watch && status == EXIT_DONE) {
		(void)nanosleep(&pause, NULL);
		if (!options->json && !isatty(STDOUT_FILENO))
			putchar('\n');
		status = show_once(options);
	}
	return status;
}
