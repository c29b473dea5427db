/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/order.h"

#include "base/error.h"
#include "ctl/output.h"

#include <jansson.h>
#include <stdarg.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text != NULL ? text : "?";
}

static int show_told(const struct call_answer *answer, void (*show)(const json_t *told))
{
	json_t *told = json_loadb(answer->body, answer->size, 0, NULL);
	bool good = json_is_object(told);

	if (good)
		show(told);
	json_decref(told);
	return good ? output_end() : output_not_understood();
}

/* Asks, and shows what is answered: as it comes with --json, else by `show`. */
__attribute__((format(printf, 3, 4))) static int
order(const struct options *options, void (*show)(const json_t *told), const char *format, ...)
{
	cleanup_free char *line = NULL;
	struct call_answer answer = {.body = NULL};
	va_list arguments;
	int status;

	va_start(arguments, format);
	if (vasprintf(&line, format, arguments) < 0)
		line = NULL;
	va_end(arguments);
	if (line == NULL || call_daemon(options->socket, line, &answer) < 0)
		status = output_unanswered(&answer);
	else if (options->json)
		status = output_body("stdout", stdout, &answer);
	else
		status = show_told(&answer, show);
	call_answer_deinit(&answer);
	return status;
}

/* --- close ---------------------------------------------------------------------------------- */

static void show_close(const json_t *answer)
{
	bool closed = strcmp(text_of(answer, "outcome"), "closed") == 0;

	printf("session %lld %s\n", json_integer_value(json_object_get(answer, "session")),
	       closed ? "is closed" : "ends when what it has asked is answered");
}

int order_close(const struct options *options)
{
	return order(options, show_close, "close %s%s", options->words[0],
		     options->now ? " now" : "");
}

/* --- drain ---------------------------------------------------------------------------------- */

static void show_listener(const json_t *listener)
{
	const json_t *left = json_object_get(listener, "seconds_left");

	printf("%s %s ", text_of(listener, "role"), text_of(listener, "name"));
	if (!json_is_true(json_object_get(listener, "draining")))
		printf("takes connections\n");
	else if (json_is_integer(left))
		printf("takes no connections; its sessions may go on for %lld s\n",
		       json_integer_value(left));
	else
		printf("takes no connections; its sessions go on\n");
}

static void show_drain(const json_t *answer)
{
	const json_t *list = json_object_get(answer, "listeners");

	for (size_t i = 0; i < json_array_size(list); i++)
		show_listener(json_array_get(list, i));
}

int order_drain(const struct options *options)
{
	const char *name = options->word_count > 0 ? options->words[0] : "";
	const char *gap = *name != '\0' ? " " : "";

	if (options->undo)
		return order(options, show_drain, "undrain%s%s", gap, name);
	if (options->timeout > 0)
		return order(options, show_drain, "drain %u%s%s", options->timeout, gap, name);
	return order(options, show_drain, "drain -%s%s", gap, name);
}

/* --- log-level ------------------------------------------------------------------------------ */

static void show_level(const json_t *answer)
{
	const char *level = text_of(answer, "level"), *configured = text_of(answer, "configured");

	if (strcmp(level, configured) == 0)
		printf("%s\n", level);
	else
		printf("%s until the next start; the configuration says %s\n", level, configured);
}

int order_log_level(const struct options *options)
{
	const char *level = options->word_count > 0 ? options->words[0] : "";

	return order(options, show_level, "log-level%s%s", *level != '\0' ? " " : "", level);
}
