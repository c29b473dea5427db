/* SPDX-License-Identifier: Apache-2.0 */
/* mcseal: the operators' program. Asks a running mcseald, and works with what it wrote. */
#include "base/error.h"
#include "ctl/call.h"
#include "ctl/check.h"
#include "ctl/findings.h"
#include "ctl/doctor.h"
#include "ctl/http.h"
#include "ctl/learn.h"
#include "ctl/options.h"
#include "ctl/order.h"
#include "ctl/output.h"
#include "ctl/sessions.h"
#include "ctl/status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define HTTP_TIME    (5 * CLOCK_SEC)

/* --- metrics -------------------------------------------------------------------------------- */

/* Beside it first: who reads FILE meanwhile never has half of it. */
static int replace_file(const char *path, const struct call_answer *answer)
{
	cleanup_free char *beside = NULL;
	FILE *file = NULL;
	int fd, status;

	if (asprintf(&beside, "%s.XXXXXX", path) < 0)
		return output_fail(path, "out of memory");
	fd = mkostemp(beside, O_CLOEXEC);
	if (fd >= 0)
		file = fdopen(fd, "w");
	if (file == NULL)
		return output_fail(path, strerrordesc_np(errno));
	status = fchmod(fd, 0644) < 0 ? output_fail(path, strerrordesc_np(errno))
				      : output_body(path, file, answer);
	if (fclose(file) != 0 && status == EXIT_DONE)
		status = output_fail(path, strerrordesc_np(errno));
	if (status == EXIT_DONE && rename(beside, path) < 0)
		status = output_fail(path, strerrordesc_np(errno));
	if (status != EXIT_DONE)
		(void)unlink(beside);
	return status;
}

/* The scraper hears of a failure by the status; nobody reads stderr there but the journal. */
static int serve_http(const struct options *options)
{
	int status = http_read_request(STDIN_FILENO, "/metrics", clock_now() + HTTP_TIME);
	struct call_answer answer = {.body = NULL};
	int result = EXIT_DONE;

	if (status == 200 && call_daemon(options->socket, "metrics", &answer) < 0) {
		result = output_fail("metrics", answer.message);
		status = 503;
	}
	if (status == 200)
		http_write_answer(stdout, status, METRICS_TYPE, answer.body, answer.size);
	else
		http_write_answer(stdout, status, "text/plain", "", 0);
	call_answer_deinit(&answer);
	return fflush(stdout) == 0 ? result : EXIT_FAILED;
}

static int run_metrics(const struct options *options)
{
	struct call_answer answer;
	int status;

	if (options->http)
		return serve_http(options);
	if (call_daemon(options->socket, "metrics", &answer) < 0)
		status = output_unanswered(&answer);
	else if (options->output != NULL)
		status = replace_file(options->output, &answer);
	else
		status = output_body("stdout", stdout, &answer);
	call_answer_deinit(&answer);
	return status;
}

/* --- reload --------------------------------------------------------------------------------- */

/* As control_command.c says it. */
#define RELOAD_ENDS "not reloaded: all is as before"

static int end_reload(int status, const char *text, bool ok)
{
	if (findings_print(text, ok, stdout) < 0)
		return output_fail("reload", "out of memory");
	return output_end() == EXIT_DONE ? status : EXIT_FAILED;
}

/* That it has begun and how it has ended is no finding. */
static int tell_reload(struct call_answer *answer, bool done)
{
	char *text = done ? answer->body : answer->message;
	char *first = strchr(text, '\n'), *last = strstr(text, RELOAD_ENDS);

	if (last != NULL)
		*last = '\0';
	return end_reload(done ? EXIT_DONE : EXIT_FAILED, first != NULL ? first + 1 : "", done);
}

static int run_reload(const struct options *options)
{
	struct call_answer answer;
	int status, error = call_daemon(options->socket, "reload", &answer);

	if (options->json && (error == 0 || (answer.message != NULL &&
					     strstr(answer.message, RELOAD_ENDS) != NULL))) {
		status = tell_reload(&answer, error == 0);
		call_answer_deinit(&answer);
		return status;
	}
	if (error < 0)
		status = output_unanswered(&answer);
	else
		status = output_body("stdout", stdout, &answer);
	call_answer_deinit(&answer);
	return status;
}

/* --- status --------------------------------------------------------------------------------- */

static int show(const struct call_answer *answer)
{
	if (status_show(answer->body, answer->size, stdout) < 0)
		return output_not_understood();
	return output_end();
}

static int run_status(const struct options *options)
{
	struct call_answer answer;
	int status;

	if (call_daemon(options->socket, "status", &answer) < 0)
		status = output_unanswered(&answer);
	else if (options->json)
		status = output_body("stdout", stdout, &answer);
	else
		status = show(&answer);
	call_answer_deinit(&answer);
	return status;
}

/* --- learn ---------------------------------------------------------------------------------- */

static int learn_file(struct learn *learn, const char *path)
{
	bool is_stdin = strcmp(path, "-") == 0;
	FILE *file = is_stdin ? stdin : fopen(path, "re");
	int error;

	if (file == NULL)
		return output_fail(path, strerrordesc_np(errno));
	error = learn_read(learn, file);
	if (!is_stdin)
		fclose(file);
	return error < 0 ? output_fail(is_stdin ? "stdin" : path, strerrordesc_np(-error))
			 : EXIT_DONE;
}

static int print_learned(struct learn *learn)
{
	unsigned long lines;

	if (learn_requests(learn, &lines) == 0) {
		fprintf(stderr,
			"mcseal: none of %lu lines is an audit line (request, request-refused, "
			"request-observed): is log_level info, and was anything asked?\n",
			lines);
		return EXIT_FAILED;
	}
	learn_print(learn, stdout);
	return output_end();
}

static int run_learn(const struct options *options)
{
	struct learn *learn = NULL;
	int status = EXIT_DONE;

	if (learn_new(options->refused, &learn) < 0)
		return output_fail("learn", "out of memory");
	if (options->word_count == 0)
		status = learn_file(learn, "-");
	for (size_t i = 0; i < options->word_count && status == EXIT_DONE; i++)
		status = learn_file(learn, options->words[i]);
	if (status == EXIT_DONE)
		status = print_learned(learn);
	learn_free(learn);
	return status;
}

static const struct command COMMANDS[] = {
	{"status", run_status, NULL, 0, {KEY_JSON}},
	{"sessions", sessions_run, NULL, 1, {KEY_JSON, KEY_WATCH}},
	{"metrics", run_metrics, NULL, 0, {KEY_OUTPUT, KEY_HTTP}},
	{"reload", run_reload, NULL, 0, {KEY_JSON}},
	{"drain", order_drain, NULL, 1, {KEY_TIMEOUT, KEY_UNDO, KEY_JSON}},
	{"close", order_close, "a session's number", 1, {KEY_NOW, KEY_JSON}},
	{"log-level", order_log_level, NULL, 1, {KEY_JSON}},
	{"check", check_run, NULL, 1, {KEY_JSON}},
	{"doctor", doctor_command, NULL, 0, {KEY_JSON, KEY_CONFIG, KEY_PLC}},
	{"learn", run_learn, NULL, OPTIONS_ANY_WORDS, {KEY_REFUSED}},
};

int main(int argc, char **argv)
{
	struct options options;

	options_parse(&options, COMMANDS, ARRAY_SIZE(COMMANDS), argc, argv);
	return options.command->run(&options);
}
