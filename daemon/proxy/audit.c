/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/audit.h"

#include <stdio.h>
#include <string.h>

enum { REMOTE_RESET = 0x1006 };

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
	const struct config_policy *policy = config_policy_of(session->identity, session->plc);
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

void audit_refused(const struct session *session, const struct mc_request *request,
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

bool audit_wants(const struct session *session, enum mc_class class)
{
	return session->snapshot->config->audit.reads ||
	       (class != MC_CLASS_READ && class != MC_CLASS_DIAGNOSTIC);
}

/* The request's number in its session. While it is judged the one before is the last counted. */
static void log_number(struct log_entry *entry, uint64_t number)
{
	log_field(entry, "request", "%llu", (unsigned long long)number);
}

void audit_request(const struct session *session, const struct mc_request *request,
		   const struct mc_access *access)
{
	struct points_text points = {.used = 0};
	struct mc_access again;
	struct log_entry entry;

	mc_access_read(request, add_points, &points, &again);
	log_begin(&entry, LOG_LEVEL_INFO, "request");
	log_number(&entry, session->directions[LEG_NEAR].frames + 1);
	log_request(&entry, session, request, access);
	log_points(&entry, &points);
	log_end(&entry);
}

void audit_answered(const struct session *session, enum mc_family family, uint16_t end_code,
		    clock_us took)
{
	struct log_entry entry;

	log_begin(&entry, LOG_LEVEL_INFO, "request-answered");
	log_number(&entry, session->directions[LEG_NEAR].frames);
	log_field(&entry, "session", "%llu", (unsigned long long)session->id);
	log_field(&entry, "plc", "%s", session->plc->name);
	log_field(&entry, "end-code", family == MC_FAMILY_1E ? "%02X" : "%04X", end_code);
	log_field(&entry, "microseconds", "%lld", (long long)took);
	log_end(&entry);
}

void audit_unanswered(const struct session *session)
{
	struct log_entry entry;

	/* Nobody but the PLC knows. It is not repeated here. */
	log_begin(&entry, LOG_LEVEL_WARNING, "request-unanswered");
	log_number(&entry, session->directions[LEG_NEAR].frames);
	log_field(&entry, "session", "%llu", (unsigned long long)session->id);
	log_field(&entry, "plc", "%s", session->plc->name);
	log_end(&entry);
}
