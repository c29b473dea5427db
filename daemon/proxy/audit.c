/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/audit.h"

#include "mc/mc_points.h"
#include "proxy/audit_file.h"
#include "proxy/counters.h"
#include "proxy/worker.h"

enum { REMOTE_RESET = 0x1006 };

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

/* --- lines ----------------------------------------------------------------------------------- */

/*
 * A gateway's session, once it is known who the client is: people whom nobody knows must not be
 * able to fill the disk on which the others' requests depend.
 */
static bool is_audited(const struct session *session)
{
	return session->role == SESSION_GATEWAY && session->identity != NULL;
}

static bool has_file(const struct session *session)
{
	return is_audited(session) && audit_file_is_set(session->worker->audit);
}

void audit_begin(struct line *line, const struct session *session, enum log_level level,
		 const char *event)
{
	line_begin(line, event, log_wants(level) || has_file(session));
}

static int write_to_file(const struct session *session, const struct line *line)
{
	char json[LINE_JSON_SIZE];

	return audit_file_append(session->worker->audit, json, line_json(line, json));
}

static int count(const struct session *session, int error)
{
	struct counters *counters = session->worker->counters;

	if (is_audited(session))
		atomic_fetch_add_explicit(error < 0 ? &counters->audit_lost
						    : &counters->audit_written,
					  1, memory_order_relaxed);
	return error;
}

/*
 * To the record first, for who reads in the log that a request passed must find it there. It `must`
 * be in the record, or is in neither. 0, or -errno: it is not in the record.
 */
static int write_down(const struct session *session, enum log_level level, const struct line *line,
		      bool must)
{
	int error;

	if (line->skipped)
		return 0;
	if (!has_file(session))
		return count(session, log_line(level, line));
	error = count(session, write_to_file(session, line));
	if (error == 0 || !must)
		(void)log_line(level, line);
	return error;
}

void audit_tell(const struct session *session, enum log_level level, const struct line *line)
{
	(void)write_down(session, level, line, false);
}

/* --- requests -------------------------------------------------------------------------------- */

/* Who wants to do what, at which station of which PLC. */
static void put_request(struct line *line, const struct session *session,
			const struct mc_request *request, const struct mc_access *access)
{
	const struct config_policy *policy = config_policy_of(session->identity, session->plc);
	bool is_1e = request->family == MC_FAMILY_1E;
	char route[MC_ROUTE_TEXT_SIZE], client[ADDRESS_TEXT_SIZE];

	line_number(line, "session", session->id);
	line_text(line, "identity", "%s", session->identity->name);
	line_text(line, "serial", "%s", session->serial);
	line_text(line, "client", "%s", address_print(&session->client, client));
	line_text(line, "plc", "%s", session->plc->name);
	line_text(line, "policy", "%s", policy != NULL ? policy->name : "-");
	line_text(line, "frame", "%s", mc_frame_family_name(request->family));
	if (is_1e)
		line_text(line, "pc", "%02X", request->route.pc);
	else
		line_text(line, "route", "%s", mc_frame_route_print(&request->route, route));
	line_text(line, "command", is_1e ? "%02X" : "%04X", request->command);
	if (!is_1e)
		line_text(line, "subcommand", "%04X", request->subcommand);
	if (access->command != NULL)
		line_text(line, "name", "%s", access->command->name);
	line_text(line, "class", "%s", mc_command_class_name(access->class));
	line_text(line, "attack", "%s", technique(request, access));
}

static void put_list(struct line *line, const struct mc_points *list, const char *key,
		     const char *more)
{
	if (list->used > 0)
		line_text(line, key, "%s", list->text);
	if (list->more > 0)
		line_number(line, more, list->more);
}

/* What it writes; to one range unless that is NULL. */
static void put_values(struct line *line, const struct session *session,
		       const struct mc_request *request, const struct mc_access *access,
		       const struct mc_range *only)
{
	struct mc_points values = {.used = 0};

	if (!session->snapshot->config->audit.values || access->class == MC_CLASS_SECURITY)
		return;
	mc_points_values(request, only, &values);
	put_list(line, &values, "values", "more-values");
}

static void put_end_code(struct line *line, enum mc_family family, uint16_t end_code)
{
	line_text(line, "end-code", family == MC_FAMILY_1E ? "%02X" : "%04X", end_code);
}

void audit_refused(const struct session *session, const struct mc_request *request,
		   const struct policy_verdict *verdict, bool observed)
{
	const struct mc_range *range = verdict->range.device != NULL ? &verdict->range : NULL;
	struct mc_points points = {.used = 0};
	struct line line;

	audit_begin(&line, session, LOG_LEVEL_WARNING,
		    observed ? "request-observed" : "request-refused");
	if (line.skipped)
		return;
	line_text(&line, "rule", "%s", policy_rule_name(verdict->rule));
	put_request(&line, session, request, &verdict->access);
	if (range != NULL)
		mc_points_add(&points, range);
	else if (verdict->access.rule == MC_RULE_NONE)
		mc_points_read(request, &points);
	put_list(&line, &points, "points", "more-points");
	if (points.used > 0)
		put_values(&line, session, request, &verdict->access, range);
	if (!observed)
		put_end_code(&line, request->family, verdict->end_code);
	audit_tell(session, LOG_LEVEL_WARNING, &line);
}

static bool changes_something(enum mc_class class)
{
	return class != MC_CLASS_READ && class != MC_CLASS_DIAGNOSTIC;
}

bool audit_wants(const struct session *session, enum mc_class class)
{
	return session->snapshot->config->audit.reads || changes_something(class);
}

/* The request's number in its session. While it is judged the one before is the last counted. */
static void put_number(struct line *line, uint64_t number)
{
	line_number(line, "request", number);
}

bool audit_request(const struct session *session, const struct mc_request *request,
		   const struct mc_access *access)
{
	const struct config_audit *audit = &session->snapshot->config->audit;
	bool must =
		changes_something(access->class) && audit->failure == CONFIG_AUDIT_REFUSE_WRITES;
	struct mc_points points = {.used = 0};
	struct line line;

	audit_begin(&line, session, LOG_LEVEL_INFO, "request");
	if (line.skipped)
		return true;
	put_number(&line, session->directions[LEG_NEAR].frames + 1);
	put_request(&line, session, request, access);
	mc_points_read(request, &points);
	put_list(&line, &points, "points", "more-points");
	put_values(&line, session, request, access, NULL);
	return write_down(session, LOG_LEVEL_INFO, &line, must) == 0 || !must;
}

/* What stands in the lines that end a recorded request. */
static void begin_end(struct line *line, const struct session *session, enum log_level level,
		      const char *event)
{
	audit_begin(line, session, level, event);
	put_number(line, session->directions[LEG_NEAR].frames);
	line_number(line, "session", session->id);
	line_text(line, "plc", "%s", session->plc->name);
}

void audit_answered(const struct session *session, enum mc_family family, uint16_t end_code,
		    clock_us took)
{
	struct line line;

	begin_end(&line, session, LOG_LEVEL_INFO, "request-answered");
	put_end_code(&line, family, end_code);
	line_number(&line, "microseconds", (uint64_t)took);
	audit_tell(session, LOG_LEVEL_INFO, &line);
}

void audit_unanswered(const struct session *session)
{
	struct line line;

	/* Nobody but the PLC knows. It is not repeated here. */
	begin_end(&line, session, LOG_LEVEL_WARNING, "request-unanswered");
	audit_tell(session, LOG_LEVEL_WARNING, &line);
}
