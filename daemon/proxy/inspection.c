/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/inspection.h"

#include "mc/mc_frame.h"
#include "policy/policy.h"

void inspection_begin(struct session *session)
{
	session->inspected = session->role == SESSION_GATEWAY &&
			     session->protocol == CONFIG_PROTOCOL_MC && session->gateway->inspect;
	if (session->inspected)
		session->policy = config_policy_of(session->identity, session->plc);
}

bool inspection_all_answered(const struct session *session)
{
	return session->inspected &&
	       session->directions[LEG_NEAR].frames == session->directions[LEG_FAR].frames;
}

static void log_points(struct log_entry *entry, const struct mc_range *range)
{
	char first[MC_DEVICE_TEXT_SIZE], last[MC_DEVICE_TEXT_SIZE];

	if (range->device != NULL)
		log_field(entry, "points", "%s-%s",
			  mc_device_print(range->device, range->first, first),
			  mc_device_print(range->device, range->last, last));
}

/* One line a refusal: who wanted to do what, to which points of which PLC, and why not. */
static void log_verdict(const struct session *session, const struct mc_request *request,
			const struct policy_verdict *verdict, bool observed)
{
	const struct mc_command *command = verdict->access.command;
	bool is_1e = request->family == MC_FAMILY_1E;
	char route[MC_ROUTE_TEXT_SIZE], client[ADDRESS_TEXT_SIZE];
	struct log_entry entry;

	log_begin(&entry, LOG_LEVEL_WARNING, observed ? "request-observed" : "request-refused");
	log_field(&entry, "rule", "%s", policy_rule_name(verdict->rule));
	log_field(&entry, "session", "%llu", (unsigned long long)session->id);
	log_field(&entry, "identity", "%s", session->identity->name);
	log_field(&entry, "serial", "%s", session->serial);
	log_field(&entry, "client", "%s", address_print(&session->client, client));
	log_field(&entry, "plc", "%s", session->plc->name);
	log_field(&entry, "policy", "%s", session->policy != NULL ? session->policy->name : "-");
	log_field(&entry, "frame", "%s", mc_frame_family_name(request->family));
	if (is_1e)
		log_field(&entry, "pc", "%02X", request->route.pc);
	else
		log_field(&entry, "route", "%s", mc_frame_route_print(&request->route, route));
	log_field(&entry, "command", is_1e ? "%02X" : "%04X", request->command);
	if (!is_1e)
		log_field(&entry, "subcommand", "%04X", request->subcommand);
	if (command != NULL)
		log_field(&entry, "name", "%s", command->name);
	log_field(&entry, "class", "%s", mc_command_class_name(verdict->access.class));
	log_points(&entry, &verdict->range);
	if (!observed)
		log_field(&entry, "end-code", is_1e ? "%02X" : "%04X", verdict->end_code);
	log_end(&entry);
}

size_t inspection_judge(struct session *session, const uint8_t *bytes, size_t length,
			uint8_t *answer)
{
	struct policy_verdict verdict;
	struct mc_request request;
	size_t size;

	if (mc_frame_parse_request(bytes, length, &request) < 0) {
		/* It cannot be answered: what is no request has no form to answer in. */
		session_close(session, SESSION_REASON_BAD_REQUEST, "not a request");
		return 0;
	}
	policy_judge(session->policy, &request, &verdict);
	if (verdict.rule == POLICY_RULE_NONE)
		return 0;
	if (session->policy != NULL && session->policy->observe) {
		log_verdict(session, &request, &verdict, true);
		return 0;
	}
	log_verdict(session, &request, &verdict, false);
	session->refused++;
	size = mc_frame_put_error(&request, verdict.end_code, verdict.abnormal_code, answer,
				  MC_FRAME_ERROR_SIZE);
	if (size == 0)
		session_close(session, SESSION_REASON_INTERNAL, "no room for an error answer");
	return size;
}
