/* SPDX-License-Identifier: Apache-2.0 */
/* What policies are made of: commands, points of devices, access routes; and who has which. */
#include "config/config_policy.h"

#include "base/error.h"
#include "config/config_value.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANY "*"

/* --- values --------------------------------------------------------------------------------- */

static int read_command(const struct config_place *place, const char *text, void *value)
{
	struct config_command command = {.any = strcmp(text, ANY) == 0};
	size_t digits = strspn(text, "0123456789abcdefABCDEF");

	(void)place;
	if (!command.any && (text[digits] || (digits != 2 && digits != 4)))
		return -EINVAL;
	if (!command.any)
		command.code = (uint16_t)strtoul(text, NULL, 16);
	memcpy(value, &command, sizeof(command));
	return 0;
}

static void print_command(const struct config_option *option, const void *value, FILE *file)
{
	struct config_command command;

	(void)option;
	memcpy(&command, value, sizeof(command));
	if (command.any)
		fputs("\"" ANY "\"", file);
	else
		fprintf(file, command.code > UINT8_MAX ? "\"%04X\"" : "\"%02X\"", command.code);
}

const struct config_type config_type_command = {
	.expected =
		"a command, like 1401 (4 digits; 2 of a 1E frame), or \"" ANY "\" for every one",
	.size = sizeof(struct config_command),
	.read = read_command,
	.print = print_command,
};

/* "D0-D999", "D0", or "D" for all of it. */
static int parse_points(const char *text, struct config_points *points)
{
	const char *dash = strchr(text, '-');
	const struct mc_device *last_device;
	char first[MC_DEVICE_TEXT_SIZE + 1] = "";
	size_t size = dash ? (size_t)(dash - text) : strlen(text);

	if (strcmp(text, ANY) == 0)
		return 0;
	if (size >= sizeof(first))
		return -EINVAL;
	memcpy(first, text, size);
	if (!dash) {
		for (char *c = first; *c; c++)
			*c = (char)toupper((unsigned char)*c);
		points->device = mc_device_by_name(first);
		points->last = UINT32_MAX;
		if (points->device)
			return 0;
	}
	if (mc_device_parse(first, &points->device, &points->first) < 0)
		return -EINVAL;
	points->last = points->first;
	if (!dash)
		return 0;
	if (mc_device_parse(dash + 1, &last_device, &points->last) < 0 ||
	    last_device != points->device || points->last < points->first)
		return -EINVAL;
	return 0;
}

static int read_points(const struct config_place *place, const char *text, void *value)
{
	struct config_points points = {0};
	int error = parse_points(text, &points);

	(void)place;
	if (error == 0)
		memcpy(value, &points, sizeof(points));
	return error;
}

static void print_points(const struct config_option *option, const void *value, FILE *file)
{
	struct config_points points;
	char first[MC_DEVICE_TEXT_SIZE], last[MC_DEVICE_TEXT_SIZE];

	(void)option;
	memcpy(&points, value, sizeof(points));
	if (!points.device)
		fputs("\"" ANY "\"", file);
	else if (points.last == UINT32_MAX)
		fprintf(file, "\"%s\"", points.device->name);
	else
		fprintf(file, "\"%s-%s\"", mc_device_print(points.device, points.first, first),
			mc_device_print(points.device, points.last, last));
}

const struct config_type config_type_points = {
	.expected = "points of a device, like D0-D999, X0-X1F, M100 or D, or \"" ANY "\" for all",
	.size = sizeof(struct config_points),
	.read = read_points,
	.print = print_points,
};

static int read_access_route(const struct config_place *place, const char *text, void *value)
{
	struct config_access_route route = {.any = strcmp(text, ANY) == 0};

	(void)place;
	if (!route.any && mc_frame_route_parse(text, &route.route) < 0)
		return -EINVAL;
	memcpy(value, &route, sizeof(route));
	return 0;
}

static void print_access_route(const struct config_option *option, const void *value, FILE *file)
{
	struct config_access_route route;
	char text[MC_ROUTE_TEXT_SIZE];

	(void)option;
	memcpy(&route, value, sizeof(route));
	fprintf(file, "\"%s\"", route.any ? ANY : mc_frame_route_print(&route.route, text));
}

const struct config_type config_type_access_route = {
	.expected = "NETWORK-PC-MODULE-STATION in hexadecimal, like 00-FF-03FF-00, or \"" ANY "\"",
	.size = sizeof(struct config_access_route),
	.read = read_access_route,
	.print = print_access_route,
};

static int read_choice(const struct config_place *place, const char *text, void *value)
{
	struct config_policy_choice choice = {0};
	const char *equals = strchr(text, '=');
	const char *policy = equals ? equals + 1 : text;

	(void)place;
	if (!*policy || equals == text)
		return -EINVAL;
	if (config_value_copy(policy, &choice.policy) < 0)
		return -ENOMEM;
	if (equals && asprintf(&choice.plc, "%.*s", (int)(equals - text), text) < 0) {
		free(choice.policy);
		return -ENOMEM;
	}
	memcpy(value, &choice, sizeof(choice));
	return 0;
}

static void print_choice(const struct config_option *option, const void *value, FILE *file)
{
	struct config_policy_choice choice;

	(void)option;
	memcpy(&choice, value, sizeof(choice));
	fprintf(file, "\"%s%s%s\"", choice.plc ? choice.plc : "", choice.plc ? "=" : "",
		choice.policy);
}

static void release_choice(void *value)
{
	struct config_policy_choice choice;

	memcpy(&choice, value, sizeof(choice));
	free(choice.plc);
	free(choice.policy);
}

const struct config_type config_type_policy_choice = {
	.expected = "the name of a policy, or PLC=POLICY",
	.size = sizeof(struct config_policy_choice),
	.read = read_choice,
	.print = print_choice,
	.release = release_choice,
};

/* --- who has which -------------------------------------------------------------------------- */

const struct config_policy *config_find_policy(const struct config *config, const char *name)
{
	for (size_t i = 0; i < config->policy_count; i++) {
		if (config->policies[i].name && strcmp(config->policies[i].name, name) == 0)
			return &config->policies[i];
	}
	return NULL;
}

const struct config_policy *config_policy_of(const struct config_identity *identity,
					     const struct config_plc *plc)
{
	const struct config_policy *general = NULL;

	for (size_t i = 0; i < identity->policy_count; i++) {
		const struct config_policy_choice *choice = &identity->policies[i];

		if (!choice->plc)
			general = choice->resolved;
		else if (strcmp(choice->plc, plc->name) == 0)
			return choice->resolved;
	}
	return general;
}

static const char *shown(const char *name)
{
	return name ? name : "?";
}

static void check_policy(const struct config *config, size_t at, struct config_report *report)
{
	const struct config_policy *policy = &config->policies[at];

	if (policy->allow_count + policy->command_count + policy->read_count +
		    policy->write_count ==
	    0)
		config_report_warning(report, policy->line,
				      "policy \"%s\" allows nothing: every request is refused",
				      shown(policy->name));
	for (size_t i = 0; i < at; i++) {
		if (policy->name && config->policies[i].name &&
		    strcmp(policy->name, config->policies[i].name) == 0)
			config_report_error(report, policy->line,
					    "policy \"%s\" is already defined at line %d, expected "
					    "another name",
					    policy->name, config->policies[i].line);
	}
}

static bool same_plc(const struct config_policy_choice *a, const struct config_policy_choice *b)
{
	return a->plc && b->plc ? strcmp(a->plc, b->plc) == 0 : a->plc == b->plc;
}

static void check_choice(const struct config *config, const struct config_identity *identity,
			 size_t at, struct config_report *report)
{
	struct config_policy_choice *choice = &identity->policies[at];

	choice->resolved = config_find_policy(config, choice->policy);
	if (!choice->resolved)
		config_report_error(report, identity->policies_line,
				    "policy: there is no policy \"%s\", expected the name of a "
				    "policy section",
				    choice->policy);
	if (choice->plc && !config_find_plc(config, choice->plc))
		config_report_error(report, identity->policies_line,
				    "policy: there is no plc \"%s\", expected the name of a plc "
				    "section",
				    choice->plc);
	for (size_t i = 0; i < at; i++) {
		if (same_plc(&identity->policies[i], choice))
			config_report_error(report, identity->policies_line,
					    "policy: \"%s\" and \"%s\" are for the same PLCs, "
					    "expected one of them",
					    identity->policies[i].policy, choice->policy);
	}
}

void config_policy_check(const struct config *config, struct config_report *report)
{
	for (size_t i = 0; i < config->policy_count; i++)
		check_policy(config, i, report);
	for (size_t i = 0; i < config->identity_count; i++) {
		for (size_t j = 0; j < config->identities[i].policy_count; j++)
			check_choice(config, &config->identities[i], j, report);
	}
	for (size_t i = 0; i < config->gateway_count; i++) {
		if (!config->gateways[i].inspect)
			config_report_warning(report, config->gateways[i].inspect_line,
					      "gateway \"%s\" is not inspected: any holder of a "
					      "certificate can stop its PLCs",
					      shown(config->gateways[i].name));
	}
}
