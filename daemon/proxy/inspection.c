/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/inspection.h"

#include "mc/mc_frame.h"
#include "mc/mc_number.h"
#include "policy/policy.h"

#include <stdio.h>
#include <string.h>

enum { REMOTE_RESET = 0x1006 };

void inspection_begin(struct session *session)
{
	session->inspected = session->role == SESSION_GATEWAY &&
			     session->protocol == CONFIG_PROTOCOL_MC && session->gateway->inspect;
	session->recorded = 0;
}

static const struct config_policy *policy_of(const struct session *session)
{
	return config_policy_of(session->identity, session->plc);
}

bool inspection_all_answered(const struct session *session)
{
	return session->inspected &&
	       session->directions[LEG_NEAR].frames == session->directions[LEG_FAR].frames;
}

/* --- what the log says ---------------------------------------------------------------------- */

/* The points of a request, as "D100-D109,M5-M5". A line has its end: the rest is a number. */
struct points_text {
	char text[256];
	size_t used;
	unsigned int more;
};

static void add_points(void *context, const struct mc_range *range)
{
	struct points_text *points = context;
	char first[MC_DEVICE_TEXT_SIZE], last[MC_DEVICE_TEXT_SIZE], text[2 * MC_DEVICE_TEXT_SIZE];
	int size = snprintf(text, sizeof(text), "%s%s-%s", points->used > 0 ? "," : "",
			    mc_device_print(range->device, range->first, first),
			    mc_device_print(range->device, range->last, last));

	if (points->more > 0 || points->used + (size_t)size >= sizeof(points->text)) {
		points->more++;
		return;
	}
	memcpy(points->text + points->used, text, (size_t)size + 1);
	points->used += (size_t)size;
}

static void log_points(struct log_entry *entry, const struct points_text *points)
{
	if (points->used > 0)
		log_field(entry, "points", "%s", points->text);
	if (points->more > 0)
		log_field(entry, "more-points", "%u", points->more);
}

/* MITRE ATT&CK for ICS: what it would be in the wrong hands. */
static const char *technique(const struct mc_request *request, const struct mc_access *access)
{
	static const char *const BY_CLASS[] = {
		[MC_CLASS_READ] = "T0861",       /* point and tag identification */
		[MC_CLASS_WRITE] = "T0836",      /* modify parameter */
		[MC_CLASS_CONTROL] = "T0855",    /* unauthorized command message */
		[MC_CLASS_FILE_READ] = "T0845",  /* program upload */
		[MC_CLASS_FILE_WRITE] = "T0843", /* program download */
		[MC_CLASS_SECURITY] = "T0859",   /* valid accounts */
		[MC_CLASS_DIAGNOSTIC] = "T0888", /* remote system information discovery */
		[MC_CLASS_OTHER] = "T0855",
	};

	if (request->family != MC_FAMILY_1E && request->command == REMOTE_RESET)
		return "T0816"; /* device restart or shutdown */
	if (access->class == MC_CLASS_CONTROL && access->ranges == 0)
		return "T0858"; /* change operating mode */
	return BY_CLASS[access->class];
}

/* Who wants to do what, at which station of which PLC. */
static void log_request(struct log_entry *entry, const struct session *session,
			const struct mc_request *request, const struct mc_access *access)
{
	const struct config_policy *policy = policy_of(session);
	bool is_1e = request->family == MC_FAMILY_1E;
	char route[MC_ROUTE_TEXT_SIZE], client[ADDRESS_TEXT_SIZE];

	log_field(entry, "session", "%llu", (unsigned long long)session->id);
	log_field(entry, "identity", "%s", session->identity->name);
	log_field(entry, "serial", "%s", session->serial);
	log_field(entry, "client", "%s", address_print(&session->client, client));
	log_field(entry, "plc", "%s", session->plc->name);
	log_field(entry, "policy", "%s", policy != NULL ? policy->name : "-");
	log_field(entry, "frame", "%s", mc_frame_family_name(request->family));
	if (is_1e)
		log_field(entry, "pc", "%02X", request->route.pc);
	else
		log_field(entry, "route", "%s", mc_frame_route_print(&request->route, route));
	log_field(entry, "command", is_1e ? "%02X" : "%04X", request->command);
	if (!is_1e)
		log_field(entry, "subcommand", "%04X", request->subcommand);
	if (access->command != NULL)
		log_field(entry, "name", "%s", access->command->name);
	log_field(entry, "class", "%s", mc_command_class_name(access->class));
	log_field(entry, "attack", "%s", technique(request, access));
}

static void log_verdict(const struct session *session, const struct mc_request *request,
			const struct policy_verdict *verdict, bool observed)
{
	struct points_text points = {.used = 0};
	struct log_entry entry;

	log_begin(&entry, LOG_LEVEL_WARNING, observed ? "request-observed" : "request-refused");
	log_field(&entry, "rule", "%s", policy_rule_name(verdict->rule));
	log_request(&entry, session, request, &verdict->access);
	if (verdict->range.device != NULL)
		add_points(&points, &verdict->range);
	log_points(&entry, &points);
	if (!observed)
		log_field(&entry, "end-code", request->family == MC_FAMILY_1E ? "%02X" : "%04X",
			  verdict->end_code);
	log_end(&entry);
}

/* --- the record of what passes -------------------------------------------------------------- */

/* Reads are many and change nothing: on request only. */
static bool is_recorded(const struct session *session, enum mc_class class)
{
	return session->snapshot->config->audit.reads ||
	       (class != MC_CLASS_READ && class != MC_CLASS_DIAGNOSTIC);
}

/* Before the PLC gets it: whatever happens then, it was asked. */
static void record(struct session *session, const struct mc_request *request,
		   const struct mc_access *access)
{
	struct points_text points = {.used = 0};
	struct mc_access again;
	struct log_entry entry;

	mc_access_read(request, add_points, &points, &again);
	log_begin(&entry, LOG_LEVEL_INFO, "request");
	log_field(&entry, "request", "%llu",
		  (unsigned long long)session->directions[LEG_NEAR].frames + 1);
	log_request(&entry, session, request, access);
	log_points(&entry, &points);
	log_end(&entry);
	session->recorded = clock_now();
}

/* Where the end code stands in an answer, and how many digits or bytes it has. */
static const struct {
	uint8_t at[2], size[2]; /* by enum mc_code */
} END_CODES[] = {
	[MC_FAMILY_1E] = {{1, 2}, {1, 2}},
	[MC_FAMILY_3E] = {{9, 18}, {2, 4}},
	[MC_FAMILY_4E] = {{13, 26}, {2, 4}},
};

size_t inspection_answer_head(const struct session *session)
{
	uint8_t family = session->stream.family, code = session->stream.code;

	return session->recorded != 0 ? END_CODES[family].at[code] + END_CODES[family].size[code]
				      : 0;
}

void inspection_answered(struct session *session, const uint8_t *bytes, size_t size)
{
	uint8_t family = session->stream.family, code = session->stream.code;
	size_t digits = END_CODES[family].size[code] / (code == MC_CODE_ASCII ? 2U : 1U);
	struct mc_reader reader = {.code = code,
				   .at = bytes + END_CODES[family].at[code],
				   .left = END_CODES[family].size[code]};
	struct log_entry entry;

	if (session->recorded == 0 || size < inspection_answer_head(session))
		return;
	log_begin(&entry, LOG_LEVEL_INFO, "request-answered");
	log_field(&entry, "request", "%llu",
		  (unsigned long long)session->directions[LEG_NEAR].frames);
	log_field(&entry, "session", "%llu", (unsigned long long)session->id);
	log_field(&entry, "plc", "%s", session->plc->name);
	log_field(&entry, "end-code", family == MC_FAMILY_1E ? "%02X" : "%04X",
		  mc_reader_number(&reader, digits));
	log_field(&entry, "microseconds", "%lld", (long long)(clock_now() - session->recorded));
	log_end(&entry);
	session->recorded = 0;
}

void inspection_end(struct session *session)
{
	struct log_entry entry;

	if (!session->inspected || session->recorded == 0)
		return;
	/* It may have been done, or not: nobody but the PLC knows. It is not repeated here. */
	log_begin(&entry, LOG_LEVEL_WARNING, "request-unanswered");
	log_field(&entry, "request", "%llu",
		  (unsigned long long)session->directions[LEG_NEAR].frames);
	log_field(&entry, "session", "%llu", (unsigned long long)session->id);
	log_field(&entry, "plc", "%s", session->plc->name);
	log_end(&entry);
	session->recorded = 0;
}

/* --- the judgement -------------------------------------------------------------------------- */

/* The answer that refuses it; 0: it passes. */
static size_t refuse(struct session *session, const struct mc_request *request,
		     const struct policy_verdict *verdict, uint8_t *answer)
{
	size_t size;

	log_verdict(session, request, verdict, false);
	session->refused++;
	size = mc_frame_put_error(request, verdict->end_code, verdict->abnormal_code, answer,
				  MC_FRAME_ERROR_SIZE);
	if (size == 0)
		session_close(session, SESSION_REASON_INTERNAL, "no room for an error answer");
	return size;
}

size_t inspection_judge(struct session *session, const uint8_t *bytes, size_t length,
			uint8_t *answer)
{
	const struct config_policy *policy = policy_of(session);
	bool observes = policy != NULL && policy->observe;
	struct policy_verdict verdict;
	struct mc_request request;

	if (mc_frame_parse_request(bytes, length, &request) < 0) {
		/* It cannot be answered: what is no request has no form to answer in. */
		session_close(session, SESSION_REASON_BAD_REQUEST, "not a request");
		return 0;
	}
	policy_judge(policy, &request, &verdict);
	if (verdict.rule != POLICY_RULE_NONE && !observes)
		return refuse(session, &request, &verdict, answer);
	if (verdict.rule != POLICY_RULE_NONE)
		log_verdict(session, &request, &verdict, true);
	if (is_recorded(session, verdict.access.class))
		record(session, &request, &verdict.access);
	return 0;
}
