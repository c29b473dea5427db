/* SPDX-License-Identifier: Apache-2.0 */
/* mcseal: the operators' program. Asks a running mcseald, and works with what it wrote. */
#include "base/error.h"
#include "ctl/call.h"
#include "ctl/http.h"
#include "ctl/learn.h"
#include "ctl/options.h"
#include "ctl/status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define HTTP_TIME    (5 * CLOCK_SEC)

static int fail(const char *what, const char *why)
{
	fprintf(stderr, "mcseal: %s%s%s\n", what, why != NULL ? ": " : "", why != NULL ? why : "");
	return EXIT_FAILED;
}

/* --- metrics -------------------------------------------------------------------------------- */

static int write_whole(const char *path, FILE *file, const struct call_answer *answer)
{
	bool good = fwrite(answer->body, 1, answer->size, file) == answer->size;

	good = fflush(file) == 0 && good;
	return good ? EXIT_DONE : fail(path, strerrordesc_np(errno));
}

/* Beside it first: who reads FILE meanwhile never has half of it. */
static int replace_file(const char *path, const struct call_answer *answer)
{
	cleanup_free char *beside = NULL;
	FILE *file = NULL;
	int fd, status;

	if (asprintf(&beside, "%s.XXXXXX", path) < 0)
		return fail(path, "out of memory");
	fd = mkostemp(beside, O_CLOEXEC);
	if (fd >= 0)
		file = fdopen(fd, "w");
	if (file == NULL)
		return fail(path, strerrordesc_np(errno));
	status = fchmod(fd, 0644) < 0 ? fail(path, strerrordesc_np(errno))
				      : write_whole(path, file, answer);
	if (fclose(file) != 0 && status == EXIT_DONE)
		status = fail(path, strerrordesc_np(errno));
	if (status == EXIT_DONE && rename(beside, path) < 0)
		status = fail(path, strerrordesc_np(errno));
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
		result = fail("metrics", answer.message);
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
		status = fail(answer.message != NULL ? answer.message : "out of memory", NULL);
	else if (options->output != NULL)
		status = replace_file(options->output, &answer);
	else
		status = write_whole("stdout", stdout, &answer);
	call_answer_deinit(&answer);
	return status;
}

/* --- reload --------------------------------------------------------------------------------- */

static int run_reload(const struct options *options)
{
	struct call_answer answer;
	int status;

	if (call_daemon(options->socket, "reload", &answer) < 0)
		status = fail(answer.message != NULL ? answer.message : "out of memory", NULL);
	else
		status = write_whole("stdout", stdout, &answer);
	call_answer_deinit(&answer);
	return status;
}

/* --- status --------------------------------------------------------------------------------- */

static int show(const struct call_answer *answer)
{
	if (status_show(answer->body, answer->size, stdout) < 0)
		return fail("this is not mcseald's answer", NULL);
	return fflush(stdout) == 0 ? EXIT_DONE : fail("stdout", strerrordesc_np(errno));
}

static int run_status(const struct options *options)
{
	struct call_answer answer;
	int status;

	if (call_daemon(options->socket, "status", &answer) < 0)
		status = fail(answer.message != NULL ? answer.message : "out of memory", NULL);
	else if (options->json)
		status = write_whole("stdout", stdout, &answer);
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
		return fail(path, strerrordesc_np(errno));
	error = learn_read(learn, file);
	if (!is_stdin)
		fclose(file);
	return error < 0 ? fail(is_stdin ? "stdin" : path, strerrordesc_np(-error)) : EXIT_DONE;
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
	return fflush(stdout) == 0 && ferror(stdout) == 0 ? EXIT_DONE
							  : fail("stdout", strerrordesc_np(errno));
}

static int run_learn(const struct options *options)
{
	struct learn *learn = NULL;
	int status = EXIT_DONE;

	if (learn_new(options->refused, &learn) < 0)
		return fail("learn", "out of memory");
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
	{"metrics", run_metrics, false, {KEY_OUTPUT, KEY_HTTP}},
	{"status", run_status, false, {KEY_JSON, 0}},
	{"reload", run_reload, false, {0, 0}},
	{"learn", run_learn, true, {KEY_REFUSED, 0}},
};

int main(int argc, char **argv)
{
	struct options options;

	options_parse(&options, COMMANDS, ARRAY_SIZE(COMMANDS), argc, argv);
	return options.command->run(&options);
}
