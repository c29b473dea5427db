/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * A row of the table is a metric and the function that prints its samples. Those of accounts all
 * have the labels plc and identity first; where one number is all there is, the row says where in
 * struct account it stands.
 *
 * A counter that has many different values of a label (rules, reasons, end codes) is told without
 * that label, too, always; and with it only where it is not 0.
 */
#include "control/metrics.h"

#include "base/error.h"
#include "control/plant_view.h"

#include <stdatomic.h>

struct view {
	struct control_context *context;
	struct plant_view plant;
};

struct row {
	struct exposition_metric metric;
	void (*print)(const struct row *row, const struct view *view, FILE *file);
	size_t offset; /* in struct account */
};

static unsigned long long read_counter(atomic_ullong *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static unsigned long long read_gauge(atomic_uint *gauge)
{
	return atomic_load_explicit(gauge, memory_order_relaxed);
}

static unsigned long long sum(atomic_ullong *counters, size_t count)
{
	unsigned long long all = 0;

	for (size_t i = 0; i < count; i++)
		all += read_counter(&counters[i]);
	return all;
}

#define VALUES(...)                                                                                \
	(const char *const[])                                                                      \
	{                                                                                          \
		__VA_ARGS__                                                                        \
	}

/* --- the daemon ----------------------------------------------------------------------------- */

static const char *role_name(size_t role)
{
	return role == SESSION_EDGE ? "edge" : "gateway";
}

static void print_build(const struct row *row, const struct view *view, FILE *file)
{
	(void)view;
	exposition_sample(file, &row->metric, VALUES(MCSEAL_VERSION), 1);
}

static void print_start(const struct row *row, const struct view *view, FILE *file)
{
	exposition_sample(file, &row->metric, NULL, (unsigned long long)view->context->started);
}

static void print_accepted(const struct row *row, const struct view *view, FILE *file)
{
	for (size_t role = 0; role < SESSION_ROLES; role++)
		exposition_sample(file, &row->metric, VALUES(role_name(role)),
				  read_counter(&view->context->counters->accepted[role]));
}

static void print_not_accepted(const struct row *row, const struct view *view, FILE *file)
{
	for (unsigned int i = ADMISSION_GRANTED + 1; i < ADMISSION_REASONS; i++) {
		unsigned long long count = read_counter(&view->context->counters->not_accepted[i]);

		if (count > 0)
			exposition_sample(file, &row->metric,
					  VALUES(admission_reason_name((enum admission_reason)i)),
					  count);
	}
}

static void print_pauses(const struct row *row, const struct view *view, FILE *file)
{
	exposition_sample(file, &row->metric, NULL,
			  read_counter(&view->context->counters->accept_paused));
}

static void print_audit_written(const struct row *row, const struct view *view, FILE *file)
{
	exposition_sample(file, &row->metric, NULL,
			  read_counter(&view->context->counters->audit_written));
}

static void print_audit_lost(const struct row *row, const struct view *view, FILE *file)
{
	exposition_sample(file, &row->metric, NULL,
			  read_counter(&view->context->counters->audit_lost));
}

static void print_relaying(const struct row *row, const struct view *view, FILE *file)
{
	struct counters *counters = view->context->counters;

	for (size_t role = 0; role < SESSION_ROLES; role++) {
		for (size_t engine = 0; engine < RELAY_ENGINES; engine++) {
			const char *name = relay_engine_name((enum relay_engine)engine);

			exposition_sample(
				file, &row->metric, VALUES(role_name(role), "kernel", name),
				read_gauge(&counters->relaying[role][COUNTERS_KERNEL][engine]));
		}
		/* Nothing else can be made of records of user space. */
		exposition_sample(
			file, &row->metric,
			VALUES(role_name(role), "user", relay_engine_name(RELAY_ENGINE_COPY)),
			read_gauge(&counters->relaying[role][COUNTERS_USER][RELAY_ENGINE_COPY]));
	}
}

static void print_sessions(const struct row *row, const struct view *view, FILE *file)
{
	exposition_sample(file, &row->metric, NULL, read_gauge(&view->context->counters->sessions));
}

static void print_papers(const struct row *row, const struct view *view, FILE *file)
{
	struct paper_list list = {0};

	/* Without memory there are none this time. */
	if (snapshot_list_papers(view->context->running->snapshot, &list) == 0)
		for (size_t i = 0; i < list.count; i++)
			exposition_sample(file, &row->metric,
					  VALUES(paper_kind_name(list.papers[i].kind),
						 list.papers[i].file, list.papers[i].name),
					  (unsigned long long)list.papers[i].ends);
	paper_list_clear(&list);
}

static void print_closed(const struct row *row, const struct view *view, FILE *file)
{
	for (size_t role = 0; role < SESSION_ROLES; role++)
		exposition_sample(file, &row->metric, VALUES(role_name(role)),
				  sum(view->context->counters->closed[role], SESSION_REASONS));
}

static void print_closed_by_reason(const struct row *row, const struct view *view, FILE *file)
{
	for (size_t role = 0; role < SESSION_ROLES; role++) {
		for (size_t reason = 0; reason < SESSION_REASONS; reason++) {
			unsigned long long count =
				read_counter(&view->context->counters->closed[role][reason]);

			if (count > 0)
				exposition_sample(
					file, &row->metric,
					VALUES(role_name(role), session_reasons[reason].name),
					count);
		}
	}
}

static void print_handshakes(const struct row *row, const struct view *view, FILE *file)
{
	for (size_t role = 0; role < SESSION_ROLES; role++) {
		for (size_t i = 0; i < COUNTERS_HANDSHAKES; i++)
			exposition_sample(
				file, &row->metric,
				VALUES(role_name(role),
				       counters_handshake_name((enum counters_handshake)i)),
				read_counter(&view->context->counters->handshakes[role][i]));
	}
}

static void print_session_bytes(const struct row *row, const struct view *view, FILE *file)
{
	struct counters *counters = view->context->counters;

	for (size_t role = 0; role < SESSION_ROLES; role++) {
		exposition_sample(file, &row->metric, VALUES(role_name(role), "to-plc"),
				  read_counter(&counters->bytes_to_plc[role]));
		exposition_sample(file, &row->metric, VALUES(role_name(role), "from-plc"),
				  read_counter(&counters->bytes_from_plc[role]));
	}
}

/* --- PLCs ----------------------------------------------------------------------------------- */

static void print_slots_of(const struct row *row, const struct view *view, bool taken, FILE *file)
{
	for (size_t i = 0; i < view->plant.port_count; i++) {
		const struct plant_view_port *at = &view->plant.ports[i];
		unsigned int in_use, all;
		char number[8];

		snprintf(number, sizeof(number), "%u", at->port->number);
		plc_slots_count(at->port->slots, &in_use, &all);
		exposition_sample(file, &row->metric, VALUES(at->plc->name, number),
				  taken ? in_use : all);
	}
}

static void print_slots(const struct row *row, const struct view *view, FILE *file)
{
	print_slots_of(row, view, false, file);
}

static void print_slots_taken(const struct row *row, const struct view *view, FILE *file)
{
	print_slots_of(row, view, true, file);
}

static void print_tries(const struct row *row, const struct view *view, FILE *file)
{
	for (size_t i = 0; i < view->plant.plc_count; i++) {
		struct plant_plc *plc = view->plant.plcs[i];

		exposition_sample(file, &row->metric, VALUES(plc->name),
				  password_tries_left(&plc->tries, clock_now()));
	}
}

/* --- accounts ------------------------------------------------------------------------------- */

static void *member(const struct row *row, const struct plant_view_account *at)
{
	return (char *)at->account + row->offset;
}

static void print_account(const struct row *row, const struct view *view, FILE *file)
{
	for (size_t i = 0; i < view->plant.account_count; i++) {
		const struct plant_view_account *at = &view->plant.accounts[i];

		exposition_sample(file, &row->metric, VALUES(at->plc->name, at->account->identity),
				  read_counter(member(row, at)));
	}
}

static void print_open(const struct row *row, const struct view *view, FILE *file)
{
	for (size_t i = 0; i < view->plant.account_count; i++) {
		const struct plant_view_account *at = &view->plant.accounts[i];

		exposition_sample(file, &row->metric, VALUES(at->plc->name, at->account->identity),
				  read_gauge(&at->account->sessions_open));
	}
}

static void print_requests(const struct row *row, const struct view *view, FILE *file)
{
	for (size_t i = 0; i < view->plant.account_count; i++) {
		const struct plant_view_account *at = &view->plant.accounts[i];

		for (size_t class = 0; class < MC_CLASSES; class ++)
			exposition_sample(file, &row->metric,
					  VALUES(at->plc->name, at->account->identity,
						 mc_command_class_name((enum mc_class) class)),
					  read_counter(&at->account->requests[class]));
	}
}

static void print_rules_sum(const struct row *row, const struct view *view, FILE *file)
{
	for (size_t i = 0; i < view->plant.account_count; i++) {
		const struct plant_view_account *at = &view->plant.accounts[i];

		exposition_sample(file, &row->metric, VALUES(at->plc->name, at->account->identity),
				  sum(member(row, at), POLICY_RULES));
	}
}

static void print_rules(const struct row *row, const struct view *view, FILE *file)
{
	for (size_t i = 0; i < view->plant.account_count; i++) {
		const struct plant_view_account *at = &view->plant.accounts[i];
		atomic_ullong *counters = member(row, at);

		for (size_t rule = 0; rule < POLICY_RULES; rule++) {
			unsigned long long count = read_counter(&counters[rule]);

			if (count > 0)
				exposition_sample(file, &row->metric,
						  VALUES(at->plc->name, at->account->identity,
							 policy_rule_name((enum policy_rule)rule)),
						  count);
		}
	}
}

static void print_answers(const struct row *row, const struct view *view, FILE *file)
{
	for (size_t i = 0; i < view->plant.account_count; i++) {
		const struct plant_view_account *at = &view->plant.accounts[i];
		const char *plc = at->plc->name, *identity = at->account->identity;
		unsigned long long errors = read_counter(&at->account->other_end_codes);

		for (size_t code = 0; code < ACCOUNT_END_CODES; code++)
			errors += read_counter(&at->account->end_codes[code].count);
		exposition_sample(file, &row->metric, VALUES(plc, identity, "normal"),
				  read_counter(&at->account->answers));
		exposition_sample(file, &row->metric, VALUES(plc, identity, "error"), errors);
	}
}

static void print_end_codes_of(const struct row *row, const struct plant_view_account *at,
			       FILE *file)
{
	const char *plc = at->plc->name, *identity = at->account->identity;
	unsigned long long others = read_counter(&at->account->other_end_codes);

	for (size_t i = 0; i < ACCOUNT_END_CODES; i++) {
		struct account_end_code *end_code = &at->account->end_codes[i];
		unsigned int code = atomic_load(&end_code->code);
		unsigned long long count = read_counter(&end_code->count);
		char text[8];

		if (code == 0 || count == 0)
			continue;
		snprintf(text, sizeof(text), "%04X", (code - 1) & 0xffff);
		exposition_sample(file, &row->metric, VALUES(plc, identity, text), count);
	}
	if (others > 0)
		exposition_sample(file, &row->metric, VALUES(plc, identity, "other"), others);
}

static void print_end_codes(const struct row *row, const struct view *view, FILE *file)
{
	for (size_t i = 0; i < view->plant.account_count; i++)
		print_end_codes_of(row, &view->plant.accounts[i], file);
}

static void print_bytes(const struct row *row, const struct view *view, FILE *file)
{
	for (size_t i = 0; i < view->plant.account_count; i++) {
		const struct plant_view_account *at = &view->plant.accounts[i];
		const char *plc = at->plc->name, *identity = at->account->identity;

		exposition_sample(file, &row->metric, VALUES(plc, identity, "to-plc"),
				  read_counter(&at->account->bytes_to_plc));
		exposition_sample(file, &row->metric, VALUES(plc, identity, "from-plc"),
				  read_counter(&at->account->bytes_from_plc));
	}
}

static void print_histograms(const struct row *row, const struct view *view, FILE *file)
{
	for (size_t i = 0; i < view->plant.account_count; i++) {
		const struct plant_view_account *at = &view->plant.accounts[i];

		exposition_histogram(file, &row->metric,
				     VALUES(at->plc->name, at->account->identity), member(row, at));
	}
}

/* --- the table ------------------------------------------------------------------------------ */

#define OF(member) offsetof(struct account, member)

/* clang-format off */
static const struct row ROWS[] = {
	{{"mcseal_build_info", "gauge", {"version"}, "Always 1; which mcseald this is."},
	 print_build, 0},
	{{"mcseal_start_time_seconds", "gauge", {NULL}, "When it started, in seconds since 1970."},
	 print_start, 0},
	{{"mcseal_sessions_accepted_total", "counter", {"role"}, "Connections that were accepted."},
	 print_accepted, 0},
	{{"mcseal_sessions_not_accepted_total", "counter", {"reason"},
	  "Connections that were closed at once: a limit was reached, or no memory."},
	 print_not_accepted, 0},
	{{"mcseal_accept_pauses_total", "counter", {NULL},
	  "Pauses in accepting because descriptors or memory had run out."},
	 print_pauses, 0},
	{{"mcseal_audit_lines_total", "counter", {NULL},
	  "Lines written to the audit record."},
	 print_audit_written, 0},
	{{"mcseal_audit_lines_lost_total", "counter", {NULL},
	  "Lines that the audit record could not take."},
	 print_audit_lost, 0},
	{{"mcseal_certificate_ends_seconds", "gauge", {"kind", "file", "name"},
	  "When certificates, CA certificates and revocation lists in use end, seconds since 1970."},
	 print_papers, 0},
	{{"mcseal_sessions", "gauge", {NULL},
	  "Sessions, in whatever state; limits.sessions is for them."},
	 print_sessions, 0},
	{{"mcseal_sessions_relaying", "gauge", {"role", "records", "engine"},
	  "Sessions that are up, by who makes their TLS records and what moves their bytes."},
	 print_relaying, 0},
	{{"mcseal_sessions_closed_total", "counter", {"role"}, "Sessions that ended."},
	 print_closed, 0},
	{{"mcseal_sessions_closed_by_reason_total", "counter", {"role", "reason"},
	  "Sessions that ended, by reason; those that have occurred."},
	 print_closed_by_reason, 0},
	{{"mcseal_handshakes_total", "counter", {"role", "result"}, "TLS handshakes that ended."},
	 print_handshakes, 0},
	{{"mcseal_session_bytes_total", "counter", {"role", "direction"},
	  "Bytes that ended sessions had relayed, without TLS."},
	 print_session_bytes, 0},
	{{"mcseal_plc_slots", "gauge", {"plc", "port"}, "Connections that the PLC's port takes."},
	 print_slots, 0},
	{{"mcseal_plc_slots_taken", "gauge", {"plc", "port"}, "Those of them that are in use."},
	 print_slots_taken, 0},
	{{"mcseal_plc_password_tries_left", "gauge", {"plc"},
	  "Wrong remote passwords that may still reach the PLC now."},
	 print_tries, 0},
	{{"mcseal_plc_sessions_total", "counter", {"plc", "identity"}, "Sessions that began."},
	 print_account, OF(sessions)},
	{{"mcseal_plc_sessions_open", "gauge", {"plc", "identity"}, "Sessions that are open."},
	 print_open, 0},
	{{"mcseal_requests_total", "counter", {"plc", "identity", "class"},
	  "Requests that went to the PLC."},
	 print_requests, 0},
	{{"mcseal_requests_refused_total", "counter", {"plc", "identity"},
	  "Requests that were refused here."},
	 print_rules_sum, OF(refused)},
	{{"mcseal_requests_refused_by_rule_total", "counter", {"plc", "identity", "rule"},
	  "Requests that were refused here, by rule; rules that have applied."},
	 print_rules, OF(refused)},
	{{"mcseal_requests_observed_total", "counter", {"plc", "identity"},
	  "Requests that would have been refused but for observe."},
	 print_rules_sum, OF(observed)},
	{{"mcseal_requests_observed_by_rule_total", "counter", {"plc", "identity", "rule"},
	  "Requests that would have been refused but for observe, by rule; rules that have applied."},
	 print_rules, OF(observed)},
	{{"mcseal_requests_unanswered_total", "counter", {"plc", "identity"},
	  "Requests whose session ended before the PLC had answered."},
	 print_account, OF(unanswered)},
	{{"mcseal_answers_total", "counter", {"plc", "identity", "result"},
	  "Answers of the PLC; error: with an end code that is not 0."},
	 print_answers, 0},
	{{"mcseal_answers_by_end_code_total", "counter", {"plc", "identity", "end_code"},
	  "Answers of the PLC with an end code that is not 0; codes that have occurred."},
	 print_end_codes, 0},
	{{"mcseal_plc_bytes_total", "counter", {"plc", "identity", "direction"},
	  "Bytes of answered requests and their answers, without TLS."},
	 print_bytes, 0},
	{{"mcseal_request_waiting_seconds", "histogram", {"plc", "identity"},
	  "Time of a request in the gateway, from its last byte to when it was sent on."},
	 print_histograms, OF(waiting)},
	{{"mcseal_request_plc_seconds", "histogram", {"plc", "identity"},
	  "Time from a request's sending on to the PLC's answer."},
	 print_histograms, OF(plc)},
	{{"mcseal_request_seconds", "histogram", {"plc", "identity"},
	  "Time from a request's last byte to the PLC's answer."},
	 print_histograms, OF(total)},
};
/* clang-format on */

const struct exposition_metric *metrics_at(size_t n)
{
	return n < ARRAY_SIZE(ROWS) ? &ROWS[n].metric : NULL;
}

int metrics_print(FILE *file, struct control_context *context)
{
	struct view view = {.context = context};
	int error = plant_view_take(context->plant, &view.plant);

	if (error < 0)
		return error;
	for (size_t i = 0; i < ARRAY_SIZE(ROWS); i++) {
		exposition_head(file, &ROWS[i].metric);
		ROWS[i].print(&ROWS[i], &view, file);
	}
	plant_view_drop(&view.plant);
	return 0;
}
