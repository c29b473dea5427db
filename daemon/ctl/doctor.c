/* SPDX-License-Identifier: Apache-2.0 */
#include "ctl/doctor.h"

#include "ctl/call.h"
#include "ctl/output.h"
#include "doctor/doctor.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* --- what the daemon says ------------------------------------------------------------------- */

static void copy(char *to, size_t size, const char *text)
{
	snprintf(to, size, "%s", text != NULL ? text : "");
}

static int take_status(const struct call_answer *answer, struct doctor_daemon *daemon)
{
	json_t *status = json_loadb(answer->body, answer->size, 0, NULL);

	daemon->pid = (long)json_integer_value(json_object_get(status, "pid"));
	copy(daemon->configuration, sizeof(daemon->configuration),
	     json_string_value(json_object_get(status, "configuration")));
	copy(daemon->sha256, sizeof(daemon->sha256),
	     json_string_value(json_object_get(status, "configuration_sha256")));
	json_decref(status);
	if (daemon->pid > 0)
		return 0;
	copy(daemon->message, sizeof(daemon->message), "mcseald's answer is not understood");
	return -EPROTO;
}

static int ask(const char *control_socket, struct doctor_daemon *daemon)
{
	struct call_answer answer;
	int error = call_daemon(control_socket, "status", &answer);

	*daemon = (struct doctor_daemon){.pid = 0};
	if (error == 0)
		error = take_status(&answer, daemon);
	else
		copy(daemon->message, sizeof(daemon->message), answer.message);
	call_answer_deinit(&answer);
	return error;
}

/* --- what is shown -------------------------------------------------------------------------- */

static void print_json(const struct finding *finding)
{
	json_t *line = json_pack("{s:s, s:s, s:s, s:s, s:s}", "step", finding->step, "about",
				 finding->about, "result", finding_result_name(finding->result),
				 "what", finding->what, "cure", finding->cure);

	if (line == NULL || json_dumpf(line, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER) < 0)
		fputs("{}", stdout);
	putchar('\n');
	json_decref(line);
}

static void print_text(const struct finding *finding)
{
	printf("%-13s  %-9s  %s%s%s\n", finding->step, finding_result_name(finding->result),
	       finding->about, finding->about[0] != '\0' ? ": " : "", finding->what);
	if (finding->cure[0] != '\0')
		printf("%-13s  %-9s  -> %s\n", "", "", finding->cure);
}

static void tell(void *context, const struct finding *finding)
{
	const struct options *options = context;

	if (options->json)
		print_json(finding);
	else
		print_text(finding);
	fflush(stdout); /* a slow step does not hide what is known */
}

int doctor_command(const struct options *options)
{
	const struct doctor_request request = {
		.path = options->config,
		.plcs = options->plcs,
		.plc = options->plc,
		.ask = ask,
		.tell = tell,
		.context = (void *)(uintptr_t)options,
	};
	unsigned int failed = doctor_run(&request);
	int status = output_end();

	return failed > 0 ? EXIT_FAILED : status;
}
