/* SPDX-License-Identifier: GPL-2.0-or-later */
/* mcseal-nft: the nftables rules that belong to mcseald's configuration. */
#include "apply.h"
#include "check.h"
#include "confirm.h"
#include "flow.h"
#include "netlink.h"
#include "options.h"
#include "plan.h"
#include "print.h"
#include "watch.h"

#include "base/error.h"
#include "config/config.h"

#include <errno.h>
#include <jansson.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What every command but `confirm` and `watch` needs. */
struct run {
	const struct options *options;
	struct config *config;
	struct plan plan;
	struct netlink netlink;
};

static int fail(const char *what, int error)
{
	bool right = error != -EPERM && error != -EACCES;

	fprintf(stderr, "mcseal-nft: %s: %s%s\n", what, strerrordesc_np(-error),
		right ? "" : " (this needs root or CAP_NET_ADMIN)");
	return EXIT_ERROR;
}

/* Prints and frees. */
static int put_json(json_t *json)
{
	if (json == NULL)
		return fail("JSON", -ENOMEM);
	json_dumpf(json, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(json);
	return EXIT_SUCCESS;
}

/* --- print ------------------------------------------------------------------------------ */

static int run_print(struct run *run)
{
	const struct options *options = run->options;

	if (options->admission && options->json)
		return put_json(check_admission_json(run->config));
	if (options->admission) {
		check_print_admission(run->config, stdout);
		return EXIT_SUCCESS;
	}
	if (options->json)
		return put_json(print_plan_json(&run->plan, options->guard));
	print_plan(&run->plan, run->config, options->guard, stdout);
	return EXIT_SUCCESS;
}

/* --- check, diff ------------------------------------------------------------------------ */

/* Cuts `text`, which may be NULL, into its lines. */
static json_t *lines_json(char *text)
{
	json_t *lines = json_array();
	char *rest = NULL;

	for (char *line = text ? strtok_r(text, "\n", &rest) : NULL; line != NULL;
	     line = strtok_r(NULL, "\n", &rest))
		json_array_append_new(lines, json_string(line));
	return lines;
}

static int run_check(struct run *run)
{
	char *text = NULL;
	size_t size;
	FILE *report = open_memstream(&text, &size);
	struct state state = {0};
	int error, warnings;

	if (report == NULL)
		return fail("check", -ENOMEM);
	error = state_read(&run->netlink, &run->plan, run->config, false, &state);
	if (error == 0)
		error = state_apply(&state, &run->netlink, &run->plan, run->config, true, report);
	warnings =
		error == -EPERM ? 0 : check_machine(&run->netlink, &run->plan, run->config, report);
	fclose(report);
	if (run->options->json)
		put_json(json_pack("{s:b, s:i, s:o}", "taken", error == 0, "warnings", warnings,
				   "report", lines_json(text)));
	else
		fputs(text ? text : "", error == 0 ? stdout : stderr);
	if (error == 0 && !run->options->json)
		printf("the kernel takes the rules; %d warning%s\n", warnings,
		       warnings == 1 ? "" : "s");
	free(text);
	state_deinit(&state);
	return error == 0 ? EXIT_SUCCESS : fail("the kernel does not take the rules", error);
}

static int run_diff(struct run *run)
{
	struct state state = {0};
	int error = state_read(&run->netlink, &run->plan, run->config, false, &state);
	int status = state.lines == 0 ? EXIT_SUCCESS : EXIT_DIFFERENT;

	if (error == 0 && run->options->json)
		put_json(state_json(&state, &run->plan, run->config));
	else if (error == 0)
		state_print(&state, &run->plan, run->config, stdout);
	state_deinit(&state);
	return error == 0 ? status : fail("cannot compare", error);
}

/* --- apply ------------------------------------------------------------------------------ */

static const char *protocol_name(uint8_t protocol)
{
	return protocol == IPPROTO_TCP ? "tcp" : "udp";
}

/* Said before it happens: a PLC keeps the slots of connections that it does not see ending. */
static json_t *tell_flows(const struct run *run)
{
	json_t *list = json_array();
	struct flow *flows;
	size_t count;
	int error = flows_find(&run->plan, run->config, &flows, &count);

	if (error < 0)
		fail("cannot list the connections that stand", error);
	for (size_t i = 0; i < count; i++) {
		char from[ADDRESS_TEXT_SIZE], to[ADDRESS_TEXT_SIZE];

		address_print(&flows[i].from, from);
		address_print(&flows[i].to, to);
		if (!run->options->json)
			printf("plain connection that the guard will cut: %s -> %s %s\n", from, to,
			       protocol_name(flows[i].protocol));
		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:s}", "from", from, "to", to,
						"protocol", protocol_name(flows[i].protocol)));
	}
	fflush(stdout);
	free(flows);
	return list;
}

/* Takes `flows`. */
static int tell_applied(const struct run *run, const struct state *state, const char *outcome,
			json_t *flows)
{
	if (run->options->json)
		return put_json(json_pack("{s:s, s:o, s:o}", "outcome", outcome, "changes",
					  state_json(state, &run->plan, run->config), "connections",
					  flows));
	json_decref(flows);
	puts(outcome);
	return EXIT_SUCCESS;
}

/* Observing would take away a guard that is in force. */
static int may_apply(const struct run *run, const struct state *state)
{
	if (confirm_pending() > 0) {
		fprintf(stderr,
			"mcseal-nft: another apply (pid %d) waits to be confirmed: mcseal-nft "
			"confirm, or wait\n",
			(int)confirm_pending());
		return -EBUSY;
	}
	if (run->options->observe && state_guards(state)) {
		fprintf(stderr, "mcseal-nft: the guard is in force, and observing would take it "
				"away: if you want that, mcseal-nft remove --guard first\n");
		return -EEXIST;
	}
	return 0;
}

static int run_apply(struct run *run)
{
	const struct options *options = run->options;
	struct state state = {0};
	const char *outcome = options->observe ? "observing" : "applied";
	json_t *flows;
	int error = state_read(&run->netlink, &run->plan, run->config, false, &state);

	if (error < 0) {
		state_deinit(&state);
		return fail("cannot read the kernel's rules", error);
	}
	if (may_apply(run, &state) < 0) {
		state_deinit(&state);
		return EXIT_ERROR;
	}
	if (!options->json)
		state_print(&state, &run->plan, run->config, stdout);
	if (state.lines == 0)
		outcome = "nothing to change";
	flows = options->observe || state.lines == 0 ? json_array() : tell_flows(run);
	if (state.lines > 0 && options->confirm > 0) {
		error = confirm_apply(&run->netlink, &run->plan, run->config, options->confirm,
				      stderr);
		outcome = error == CONFIRM_TAKEN_BACK ? "not confirmed: all is as before"
						      : "applied and confirmed";
	} else if (state.lines > 0) {
		state_deinit(&state);
		error = apply_plan(&run->netlink, &run->plan, run->config, false, stderr, &state);
	}
	if (error >= 0)
		tell_applied(run, &state, outcome, flows);
	else
		json_decref(flows);
	state_deinit(&state);
	if (error < 0)
		return fail("nothing was applied", error);
	return error == CONFIRM_TAKEN_BACK ? EXIT_DIFFERENT : EXIT_SUCCESS;
}

/* --- remove ----------------------------------------------------------------------------- */

static int run_remove(struct run *run)
{
	bool guard = run->options->guard;
	struct state state = {0};
	int error;

	if (confirm_pending() > 0)
		return fail("another apply waits to be confirmed", -EBUSY);
	error = apply_plan(&run->netlink, NULL, run->config, !guard, stderr, &state);
	if (error < 0) {
		state_deinit(&state);
		return fail("nothing was removed", error);
	}
	if (run->options->json)
		put_json(state_json(&state, NULL, run->config));
	else
		state_print(&state, NULL, run->config, stdout);
	if (guard || !state_guards(&state))
		fprintf(stderr, "mcseal-nft: no guard is loaded: from now on plain MC may leave "
				"this machine\n");
	state_deinit(&state);
	return EXIT_SUCCESS;
}

/* --- main ------------------------------------------------------------------------------- */

static int run_confirm(const struct options *options)
{
	int error = confirm_now();

	if (error == -ESRCH)
		fprintf(stderr, "mcseal-nft: nothing waits to be confirmed\n");
	else if (error < 0)
		return fail("confirm", error);
	if (options->json)
		put_json(json_pack("{s:b}", "confirmed", error == 0));
	return error == 0 ? EXIT_SUCCESS : EXIT_ERROR;
}

static int run_watch(const struct options *options)
{
	int error = watch(options->config, options->restore, options->json);

	return error < 0 ? fail("cannot watch", error) : EXIT_SUCCESS;
}

static const struct {
	const char *name;
	int (*run)(struct run *run);
	bool kernel; /* asks or changes it */
} commands[] = {
	{"print", run_print, false}, {"check", run_check, true},   {"diff", run_diff, true},
	{"apply", run_apply, true},  {"remove", run_remove, true},
};

static int prepare_and_run(struct run *run, size_t at)
{
	const struct options *options = run->options;
	int error = config_load_alone(options->config, stderr, &run->config);
	int status;

	if (error < 0)
		return EXIT_ERROR;
	error = plan_build(run->config, options->observe, stderr, &run->plan);
	if (error == -ENOMEM)
		fail("rules", error);
	if (error == 0 && commands[at].kernel)
		error = netlink_open(&run->netlink, NETLINK_NETFILTER);
	if (error < 0 && error != -EINVAL && error != -ENOMEM)
		fail("netlink", error);
	status = error == 0 ? commands[at].run(run) : EXIT_ERROR;
	netlink_close(&run->netlink);
	plan_deinit(&run->plan);
	config_free(run->config);
	return status;
}

int main(int argc, char **argv)
{
	struct options options;
	struct run run = {.options = &options};

	options_parse(argc, argv, &options);
	if (strcmp(options.command, "confirm") == 0)
		return run_confirm(&options);
	if (strcmp(options.command, "watch") == 0)
		return run_watch(&options);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (strcmp(options.command, commands[i].name) == 0)
			return prepare_and_run(&run, i);
	}
	return EXIT_ERROR;
}
