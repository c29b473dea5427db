/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How it works
 *
 * The kernel sends every change of nftables to who subscribes, and closes each transaction with a
 * message that names its process (NFT_MSG_NEWGEN, since Linux 4.15). Single messages are not
 * understood here: after a transaction of somebody else's, the tables are read and compared whole.
 * That also holds when the socket has overflowed (ENOBUFS) and nobody knows what was missed.
 *
 * Another program that restores its own rules must not be fought: three times a minute, then only
 * told. Nor one of ours that waits to be confirmed.
 */
#include "watch.h"

#include "apply.h"
#include "confirm.h"
#include "netlink.h"
#include "plan.h"

#include "base/clock.h"
#include "base/error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define RESTORES_PER_MINUTE 3
#define NAME_SIZE           32 /* TASK_COMM_LEN is 16 */

struct watch {
	const char *path;
	bool restore, json;
	struct netlink events, netlink;
	clock_us restored[RESTORES_PER_MINUTE]; /* when, the oldest first; 0: never */
	char culprit[NAME_SIZE];                /* of the last transaction */
	uint32_t culprit_pid;                   /* 0: not known */
	bool changed;                           /* by somebody else, since the last look */
	bool differed;                          /* at the last look */
	bool seen;                              /* as they should be: only that is put back */
	bool observing;                         /* they are those of an apply --observe */
};

static volatile sig_atomic_t stopped;

static void on_stop(int signal)
{
	(void)signal;
	stopped = 1;
}

/* --- telling ---------------------------------------------------------------------------- */

static void tell(const struct watch *watch, const char *event, const struct state *state,
		 const struct plan *plan, const struct config *config)
{
	json_t *line;

	if (!watch->json) {
		printf("%s", event);
		if (watch->culprit_pid != 0)
			printf(" by %s (pid %u)", watch->culprit, watch->culprit_pid);
		putchar('\n');
		if (state != NULL)
			state_print(state, plan, config, stdout);
		fflush(stdout);
		return;
	}
	line = json_pack("{s:s}", "event", event);
	if (watch->culprit_pid != 0) {
		json_object_set_new(line, "process", json_string(watch->culprit));
		json_object_set_new(line, "pid", json_integer(watch->culprit_pid));
	}
	if (state != NULL)
		json_object_set_new(line, "differences", state_json(state, plan, config));
	json_dumpf(line, stdout, JSON_COMPACT);
	putchar('\n');
	fflush(stdout);
	json_decref(line);
}

static void tell_fault(const char *what, int error)
{
	fprintf(stderr, "mcseal-nft: %s: %s\n", what, strerrordesc_np(-error));
}

/* --- looking ---------------------------------------------------------------------------- */

static bool may_restore(const struct watch *watch)
{
	return watch->restore && watch->seen && confirm_pending() == 0 &&
	       (watch->restored[0] == 0 || clock_now() - watch->restored[0] >= 60 * CLOCK_SEC);
}

static void count_restoring(struct watch *watch)
{
	memmove(&watch->restored[0], &watch->restored[1],
		sizeof(watch->restored) - sizeof(watch->restored[0]));
	watch->restored[RESTORES_PER_MINUTE - 1] = clock_now();
}

static const char *why_not_restored(const struct watch *watch)
{
	if (!watch->seen)
		return "not restored: they were not in force since watching began";
	if (confirm_pending() > 0)
		return "not restored: another change waits to be confirmed";
	return "not restored: three times within a minute is enough";
}

static void put_back(struct watch *watch, const struct config *config, const struct plan *plan)
{
	struct state state = {0};
	int error = 0;

	watch->culprit_pid = 0;
	if (!may_restore(watch)) {
		tell(watch, why_not_restored(watch), NULL, plan, config);
		return;
	}
	count_restoring(watch);
	error = apply_plan(&watch->netlink, plan, config, false, stderr, &state);
	state_deinit(&state);
	if (error < 0) {
		tell_fault("cannot restore the rules", error);
		return;
	}
	tell(watch, "the rules were restored", NULL, plan, config);
	watch->differed = false;
}

static void judge(struct watch *watch, const struct config *config, const struct plan *plan)
{
	struct state state;
	int error = state_read(&watch->netlink, plan, config, false, &state);
	bool differs = error == 0 && state.lines > 0;

	if (error < 0)
		tell_fault("cannot read the rules", error);
	else if (differs)
		tell(watch,
		     watch->culprit_pid != 0 ? "the rules were changed"
					     : "the rules are not as they should be",
		     &state, plan, config);
	else if (watch->differed)
		tell(watch, "the rules are as they should be", NULL, plan, config);
	if (error == 0)
		watch->differed = differs;
	watch->seen |= error == 0 && !differs;
	state_deinit(&state);
	if (differs && watch->restore)
		put_back(watch, config, plan);
}

/* What an admin only observes must not be enforced by putting it back. */
static void find_out_mode(struct watch *watch, const struct config *config)
{
	struct state state;

	if (state_read(&watch->netlink, NULL, config, false, &state) == 0) {
		if (state_observes(&state))
			watch->observing = true;
		else if (state_guards(&state))
			watch->observing = false;
		/* Neither: taken away as a whole, and what it was is still known. */
	}
	state_deinit(&state);
}

static void look(struct watch *watch)
{
	struct config *config;
	struct plan plan;

	watch->changed = false;
	if (config_load_alone(watch->path, stderr, &config) < 0)
		return;
	find_out_mode(watch, config);
	if (plan_build(config, watch->observing, stderr, &plan) == 0)
		judge(watch, config, &plan);
	plan_deinit(&plan);
	config_free(config);
}

/* --- listening -------------------------------------------------------------------------- */

static int take_event(const struct nlmsghdr *message, void *data)
{
	struct watch *watch = data;
	const struct nlattr *attribute;
	uint32_t pid = 0;
	char name[NAME_SIZE] = "?";

	if ((message->nlmsg_type & 0xff) != NFT_MSG_NEWGEN)
		return MNL_CB_OK;
	for (attribute = netlink_next(message, sizeof(struct nfgenmsg), NULL); attribute != NULL;
	     attribute = netlink_next(message, sizeof(struct nfgenmsg), attribute)) {
		if (mnl_attr_get_type(attribute) == NFTA_GEN_PROC_PID)
			pid = ntohl(mnl_attr_get_u32(attribute));
		if (mnl_attr_get_type(attribute) == NFTA_GEN_PROC_NAME)
			snprintf(name, sizeof(name), "%s", mnl_attr_get_str(attribute));
	}
	if (pid == (uint32_t)getpid())
		return MNL_CB_OK;
	memcpy(watch->culprit, name, sizeof(name));
	watch->culprit_pid = pid;
	watch->changed = true;
	return MNL_CB_OK;
}

/* Everything that is there to be read. */
static int drain(struct watch *watch)
{
	int fd = mnl_socket_get_fd(watch->events.socket);
	char buffer[65536];

	for (;;) {
		ssize_t size = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);

		if (size < 0 && errno == ENOBUFS) {
			watch->culprit_pid = 0;
			watch->changed = true;
			continue;
		}
		if (size < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		(void)mnl_cb_run(buffer, (size_t)size, 0, 0, take_event, watch);
	}
}

static int subscribe(struct watch *watch)
{
	int group = NFNLGRP_NFTABLES;
	int error = netlink_open(&watch->events, NETLINK_NETFILTER);

	if (error == 0)
		error = netlink_open(&watch->netlink, NETLINK_NETFILTER);
	if (error == 0 && mnl_socket_setsockopt(watch->events.socket, NETLINK_ADD_MEMBERSHIP,
						&group, sizeof(group)) < 0)
		error = -errno;
	return error;
}

int watch(const char *path, bool restore, bool json)
{
	struct watch watch = {.path = path, .restore = restore, .json = json};
	struct sigaction stop = {.sa_handler = on_stop};
	int error = subscribe(&watch);
	struct pollfd events;

	if (error == 0) {
		sigaction(SIGTERM, &stop, NULL);
		sigaction(SIGINT, &stop, NULL);
		events = (struct pollfd){.fd = mnl_socket_get_fd(watch.events.socket),
					 .events = POLLIN};
		look(&watch);
		watch.culprit_pid = 0;
		tell(&watch, "watching", NULL, NULL, NULL);
	}
	while (error == 0 && !stopped) {
		if (poll(&events, 1, 1000) > 0)
			error = drain(&watch);
		/* What could not be put back at once is, as soon as it may. */
		if (error == 0 && (watch.changed || (watch.differed && may_restore(&watch))))
			look(&watch);
	}
	netlink_close(&watch.events);
	netlink_close(&watch.netlink);
	return error;
}
