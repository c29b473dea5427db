/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One request against every kind of policy: nothing is read beyond its end, ranges are ranges, who
 * may less gets less, each refusal can be put into an answer that a client can read, and what logs
 * tell of points and values is theirs alone.
 */
#include "base/error.h"
#include "mc/mc_points.h"
#include "policy/policy.h"

#include <stdlib.h>
#include <string.h>

#define FRAME_MAX 8200

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size);

static int all_classes[] = {MC_CLASS_READ,       MC_CLASS_WRITE,      MC_CLASS_CONTROL,
			    MC_CLASS_FILE_READ,  MC_CLASS_FILE_WRITE, MC_CLASS_SECURITY,
			    MC_CLASS_DIAGNOSTIC, MC_CLASS_OTHER};
static struct config_command any_command[] = {{.any = true}};
static struct config_access_route any_route[] = {{.any = true}};

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_range(void *context, const struct mc_range *range)
{
	uint32_t *ranges = context;

	check(range->device != NULL && range->first <= range->last);
	(*ranges)++;
}

/* Of these characters, and nothing of a request that is not looked into: passwords are in those. */
static void check_list(const struct mc_points *list, const char *characters)
{
	check(list->used < sizeof(list->text) && strlen(list->text) == list->used);
	check(strspn(list->text, characters) == list->used);
	check(list->used > 0 || list->more == 0);
}

static uint32_t items(const struct mc_points *list)
{
	uint32_t count = list->used > 0 ? list->more + 1 : 0;

	for (const char *at = list->text; *at != '\0'; at++)
		count += *at == ',';
	return count;
}

static void check_lists(const struct mc_request *request, const struct mc_access *access)
{
	struct mc_points points = {.used = 0}, values = {.used = 0}, of_one = {.used = 0};
	struct mc_range nowhere = {.device = NULL};

	mc_points_read(request, &points);
	mc_points_values(request, NULL, &values);
	mc_points_values(request, &nowhere, &of_one);
	check_list(&points, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ,-");
	check_list(&values, "0123456789ABCDEF,");
	check(items(&points) == access->ranges && of_one.used == 0);
	if (access->class == MC_CLASS_SECURITY || access->class == MC_CLASS_READ)
		check(values.used == 0);
	/* A range that is written has a value, at least of a bit. */
	if (access->rule == MC_RULE_NONE && access->class == MC_CLASS_WRITE && access->ranges > 0)
		check(items(&values) >= access->ranges || values.more > 0);
}

static void check_answer(const struct mc_request *request, const struct policy_verdict *verdict)
{
	uint8_t bytes[MC_FRAME_ERROR_SIZE];
	struct mc_answer answer;
	size_t size = mc_frame_put_error(request, verdict->end_code, verdict->abnormal_code, bytes,
					 sizeof(bytes));

	check(verdict->end_code != 0 && size > 0);
	check(mc_frame_parse_answer(bytes, size, request->code, &answer) == 0);
	check(answer.end_code == verdict->end_code &&
	      answer.abnormal_code == verdict->abnormal_code);
	check(memcmp(answer.serial, request->serial, sizeof(answer.serial)) == 0);
	if (request->family == MC_FAMILY_1E)
		check(answer.command_1e == request->command);
	else
		check(mc_frame_route_equal(&answer.route, &request->route));
}

static bool passes(const struct config_policy *policy, const struct mc_request *request)
{
	struct policy_verdict verdict;

	policy_judge(policy, request, &verdict);
	check((verdict.range.device != NULL) ==
	      (verdict.rule == POLICY_RULE_READ || verdict.rule == POLICY_RULE_WRITE));
	if (verdict.rule != POLICY_RULE_NONE)
		check_answer(request, &verdict);
	return verdict.rule == POLICY_RULE_NONE;
}

static void judge(const struct mc_request *request)
{
	struct config_points points[] = {
		{.device = mc_device_by_name("D"), .last = 999},
		{.device = mc_device_by_name("M"), .first = 16, .last = 255},
	};
	const struct config_policy everything = {
		.allow = all_classes,
		.allow_count = ARRAY_SIZE(all_classes),
		.commands = any_command,
		.command_count = 1,
		.routes = any_route,
		.route_count = 1,
	};
	const struct config_policy nothing = {.name = NULL};
	struct config_policy vendor = {.read = points, .read_count = ARRAY_SIZE(points)};
	struct mc_access access;
	uint32_t ranges = 0;

	mc_access_read(request, check_range, &ranges, &access);
	check(ranges == access.ranges);
	check_lists(request, &access);
	check(!passes(&nothing, request));
	check(!passes(NULL, request) || passes(&everything, request));
	check(!passes(&vendor, request) || (passes(NULL, request) && access.ranges > 0));
	vendor.read_count = 1;
	if (passes(&vendor, request)) {
		vendor.read_count = 2;
		check(passes(&vendor, request));
	}
	if (passes(NULL, request))
		check(access.class == MC_CLASS_READ && access.rule == MC_RULE_NONE &&
		      mc_access_is_own(request->family, &request->route));
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size)
{
	struct mc_stream stream = {.family = MC_FAMILY_NONE};
	struct mc_request request;
	struct mc_frame frame;
	uint8_t *copy;

	if (mc_stream_split(&stream, MC_REQUEST, input, size, FRAME_MAX, &frame) != MC_SPLIT_FRAME)
		return 0;
	/* Of exactly its size, so that a byte too far is seen. */
	copy = malloc(frame.length);
	check(copy != NULL);
	memcpy(copy, input, frame.length);
	if (mc_frame_parse_request(copy, frame.length, &request) == 0)
		judge(&request);
	free(copy);
	return 0;
}
