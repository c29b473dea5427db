/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/policy.h"

#include <string.h>

/*
 * What a refused client is told. C059 is what a PLC says for a command that it does not have, 0055
 * for writes that are forbidden while it runs, C05B for devices that cannot be read this way; in
 * 1E frames 50, 56 and, for the state of the CPU, 5B with 18. C810 is a wrong remote password,
 * C05F a request that cannot be executed, 60 in 1E that the time for it has passed (MELSEC
 * Communication Protocol Reference Manual, end codes; FX3U-ENET-ADP User's Manual).
 */
enum {
	END_COMMAND = 0xc059,
	END_WRITE = 0x0055,
	END_READ = 0xc05b,
	END_PASSWORD = 0xc810,
	END_NOT_NOW = 0xc05f,
	COMPLETE_COMMAND = 0x50,
	COMPLETE_DEVICE = 0x56,
	COMPLETE_CPU = 0x5b,
	ABNORMAL_DISABLED = 0x18,
	ABNORMAL_PC = 0x10,
	COMPLETE_TIMER = 0x60,
};

struct judgement {
	const struct config_policy *policy;
	struct policy_verdict *verdict;
	bool listed; /* the command itself is */
};

static const struct config_policy *reads_only(void)
{
	static int classes[] = {MC_CLASS_READ};
	static const struct config_policy POLICY = {.allow = classes, .allow_count = 1};

	return &POLICY;
}

/* --- what a policy says --------------------------------------------------------------------- */

static bool allows_class(const struct config_policy *policy, enum mc_class class)
{
	for (size_t i = 0; i < policy->allow_count; i++) {
		if (policy->allow[i] == (int)class)
			return true;
	}
	return false;
}

static bool lists_command(const struct config_policy *policy, uint16_t code)
{
	for (size_t i = 0; i < policy->command_count; i++) {
		if (policy->commands[i].any || policy->commands[i].code == code)
			return true;
	}
	return false;
}

static bool allows_route(const struct config_policy *policy, const struct mc_request *request)
{
	if (policy->route_count == 0)
		return mc_access_is_own(request->family, &request->route);
	for (size_t i = 0; i < policy->route_count; i++) {
		const struct config_access_route *route = &policy->routes[i];
		bool same = request->family == MC_FAMILY_1E
				    ? route->route.pc == request->route.pc
				    : mc_frame_route_equal(&route->route, &request->route);

		if (route->any || same)
			return true;
	}
	return false;
}

/* Is the whole range inside one or several of the listed ones? */
static bool covers(const struct config_points *points, size_t count, const struct mc_range *range)
{
	uint64_t next = range->first;
	bool grew = true;

	/* Lists are short and in no order: what is covered grows until nothing adds to it. */
	while (next <= range->last && grew) {
		grew = false;
		for (size_t i = 0; i < count; i++) {
			if (points[i].device == range->device && points[i].first <= next &&
			    points[i].last >= next) {
				next = (uint64_t)points[i].last + 1;
				grew = true;
			}
		}
	}
	return next > range->last;
}

static bool has_any(const struct config_points *points, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (points[i].device == NULL)
			return true;
	}
	return false;
}

/* Special relays and registers steer the CPU: clock, resets, link settings. */
static bool is_special(const struct mc_device *device)
{
	return strcmp(device->name, "SM") == 0 || strcmp(device->name, "SD") == 0;
}

static bool may_read(const struct judgement *judgement, const struct mc_range *range)
{
	const struct config_policy *policy = judgement->policy;

	if (policy->read_count > 0)
		return has_any(policy->read, policy->read_count) ||
		       covers(policy->read, policy->read_count, range);
	return judgement->listed || allows_class(policy, MC_CLASS_READ);
}

static bool reads_everything(const struct config_policy *policy)
{
	return policy->read_count > 0 ? has_any(policy->read, policy->read_count)
				      : allows_class(policy, MC_CLASS_READ);
}

static bool may_write(const struct judgement *judgement, const struct mc_range *range)
{
	const struct config_policy *policy = judgement->policy;
	bool special = is_special(range->device);

	if (covers(policy->write, policy->write_count, range))
		return true;
	if (policy->write_count > 0 && !has_any(policy->write, policy->write_count))
		return false;
	if (special)
		return allows_class(policy, MC_CLASS_CONTROL);
	return policy->write_count > 0 || judgement->listed || allows_class(policy, MC_CLASS_WRITE);
}

static void judge_range(void *context, const struct mc_range *range)
{
	struct judgement *judgement = context;
	struct policy_verdict *verdict = judgement->verdict;

	if (verdict->rule != POLICY_RULE_NONE)
		return;
	if (range->write ? may_write(judgement, range) : may_read(judgement, range))
		return;
	verdict->rule = range->write ? POLICY_RULE_WRITE : POLICY_RULE_READ;
	verdict->range = *range;
}

/* --- the order of the questions ------------------------------------------------------------- */

static bool is_of_devices(enum mc_class class)
{
	return class == MC_CLASS_READ || class == MC_CLASS_WRITE;
}

/* A frame that contradicts itself never passes, whoever sends it. */
static enum policy_rule frame_rule(const struct judgement *judgement)
{
	switch (judgement->verdict->access.rule) {
	case MC_RULE_LENGTH:
		return POLICY_RULE_LENGTH;
	case MC_RULE_COUNT:
		return POLICY_RULE_COUNT;
	case MC_RULE_SHAPE:
		return POLICY_RULE_SHAPE;
	case MC_RULE_SUBCOMMAND:
		return judgement->listed && judgement->policy->read_count == 0 &&
				       judgement->policy->write_count == 0
			       ? POLICY_RULE_NONE
			       : POLICY_RULE_SUBCOMMAND;
	case MC_RULE_COMMAND:
		return judgement->listed ? POLICY_RULE_NONE : POLICY_RULE_COMMAND;
	case MC_RULE_NONE:
	case MC_RULES:
		break;
	}
	return POLICY_RULE_NONE;
}

/* What touches no device that could be looked at. */
static enum policy_rule class_rule(const struct judgement *judgement)
{
	const struct mc_access *access = &judgement->verdict->access;

	if (judgement->listed)
		return POLICY_RULE_NONE;
	/* A PLC has one list of what is monitored: it may be another's, of points not listed here.
	 */
	if (access->monitor && reads_everything(judgement->policy))
		return POLICY_RULE_NONE;
	if (is_of_devices(access->class) && access->opaque)
		return POLICY_RULE_UNREADABLE;
	return allows_class(judgement->policy, access->class) ? POLICY_RULE_NONE
							      : POLICY_RULE_CLASS;
}

static enum policy_rule find_rule(const struct judgement *judgement,
				  const struct mc_request *request, enum policy_rule by_range)
{
	enum policy_rule rule = frame_rule(judgement);

	if (rule != POLICY_RULE_NONE)
		return rule;
	if (!allows_route(judgement->policy, request))
		return POLICY_RULE_ROUTE;
	if (by_range != POLICY_RULE_NONE)
		return by_range;
	if (judgement->verdict->access.ranges > 0 && !judgement->verdict->access.opaque)
		return POLICY_RULE_NONE;
	return class_rule(judgement);
}

static void choose_answer(const struct mc_request *request, struct policy_verdict *verdict)
{
	const struct mc_access *access = &verdict->access;
	bool is_1e = request->family == MC_FAMILY_1E;
	bool by_points = verdict->rule == POLICY_RULE_READ || verdict->rule == POLICY_RULE_WRITE;

	if (access->rule != MC_RULE_NONE) {
		verdict->end_code = access->end_code;
	} else if (is_1e && verdict->rule == POLICY_RULE_ROUTE) {
		verdict->end_code = COMPLETE_CPU;
		verdict->abnormal_code = ABNORMAL_PC;
	} else if (is_1e && access->class == MC_CLASS_CONTROL) {
		verdict->end_code = COMPLETE_CPU;
		verdict->abnormal_code = ABNORMAL_DISABLED;
	} else if (is_1e) {
		verdict->end_code = by_points ? COMPLETE_DEVICE : COMPLETE_COMMAND;
	} else if (verdict->rule == POLICY_RULE_WRITE ||
		   (verdict->rule == POLICY_RULE_CLASS && access->class == MC_CLASS_WRITE)) {
		verdict->end_code = END_WRITE;
	} else {
		verdict->end_code = by_points ? END_READ : END_COMMAND;
	}
}

void policy_judge(const struct config_policy *policy, const struct mc_request *request,
		  struct policy_verdict *verdict)
{
	struct judgement judgement = {
		.policy = policy != NULL ? policy : reads_only(),
		.verdict = verdict,
	};

	*verdict = (struct policy_verdict){.rule = POLICY_RULE_NONE};
	judgement.listed = lists_command(judgement.policy, request->command);
	mc_access_read(request, judge_range, &judgement, &verdict->access);
	verdict->rule = find_rule(&judgement, request, verdict->rule);
	if (verdict->rule != POLICY_RULE_READ && verdict->rule != POLICY_RULE_WRITE)
		verdict->range = (struct mc_range){.device = NULL};
	if (verdict->rule != POLICY_RULE_NONE)
		choose_answer(request, verdict);
}

void policy_refuse(const struct mc_request *request, enum policy_rule rule,
		   struct policy_verdict *verdict)
{
	bool is_1e = request->family == MC_FAMILY_1E;

	verdict->rule = rule;
	verdict->range = (struct mc_range){.device = NULL};
	verdict->abnormal_code = 0;
	if (rule == POLICY_RULE_PASSWORD)
		verdict->end_code = END_PASSWORD;
	else
		verdict->end_code = is_1e ? COMPLETE_TIMER : END_NOT_NOW;
}

const char *policy_rule_name(enum policy_rule rule)
{
	static const char *const NAMES[POLICY_RULES] = {
		[POLICY_RULE_NONE] = "none",
		[POLICY_RULE_LENGTH] = "length",
		[POLICY_RULE_COUNT] = "count",
		[POLICY_RULE_SHAPE] = "shape",
		[POLICY_RULE_SUBCOMMAND] = "subcommand",
		[POLICY_RULE_COMMAND] = "command",
		[POLICY_RULE_ROUTE] = "route",
		[POLICY_RULE_CLASS] = "class",
		[POLICY_RULE_UNREADABLE] = "unreadable",
		[POLICY_RULE_READ] = "read",
		[POLICY_RULE_WRITE] = "write",
		[POLICY_RULE_PASSWORD] = "password",
		[POLICY_RULE_BUDGET] = "budget",
		[POLICY_RULE_BUSY] = "busy",
		[POLICY_RULE_AUDIT] = "audit",
	};

	return NAMES[rule];
}
