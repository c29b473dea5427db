/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "statement.h"

#include "set_type.h"

#include "base/error.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>

#define LOG_LEVEL_NAME "warn" /* nft's own default: its lists leave it out */
#define LIMIT_BURST    5      /* the same */

static const char *ip(int family)
{
	return family == AF_INET ? "ip" : "ip6";
}

static const char *family_name(int family)
{
	return family == AF_INET ? "ipv4" : "ipv6";
}

static const char *protocol_name(uint8_t protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return "tcp";
	case IPPROTO_UDP:
		return "udp";
	case IPPROTO_ICMP:
		return "icmp";
	default:
		return "ipv6-icmp";
	}
}

/* --- in nft's language ------------------------------------------------------------------ */

static void print_tproxy(const struct statement *statement, FILE *file)
{
	char text[ADDRESS_TEXT_SIZE];

	fprintf(file, "tproxy %s to %s", ip(statement->address.any.sa_family),
		address_print(&statement->address, text));
}

static void statement_print(const struct statement *statement, FILE *file)
{
	const char *name = statement->name;
	uint32_t number = statement->number;

	switch (statement->kind) {
	case STATEMENT_DESTINATION:
		fprintf(file, "%s daddr . %s dport @%s", ip(statement->family),
			protocol_name(statement->protocol), name);
		break;
	case STATEMENT_ADDRESS:
		fprintf(file, "%s %s @%s", ip(statement->family),
			statement->source ? "saddr" : "daddr", name);
		break;
	case STATEMENT_PORT:
		fprintf(file, "tcp dport @%s", name);
		break;
	case STATEMENT_ADDRESSES:
		fprintf(file, "%s daddr ", ip(statement->family));
		set_type_print_addresses(statement->family, statement->first, statement->last,
					 false, file);
		break;
	case STATEMENT_PORTS:
		fprintf(file, "%s dport %" PRIu32, protocol_name(statement->protocol), number);
		if (statement->last_number != number)
			fprintf(file, "-%" PRIu32, statement->last_number);
		break;
	case STATEMENT_FAMILY:
		fprintf(file, "meta nfproto %s", family_name(statement->family));
		break;
	case STATEMENT_PROTOCOL:
		fprintf(file, "meta l4proto %s", protocol_name(statement->protocol));
		break;
	case STATEMENT_INTERFACE:
		fprintf(file, "iifname @%s", name);
		break;
	case STATEMENT_LOOPBACK:
		fputs("oifname \"lo\"", file);
		break;
	case STATEMENT_USER:
		fprintf(file, "meta skuid @%s", name);
		break;
	case STATEMENT_CGROUP:
		fprintf(file, "socket cgroupv2 level %" PRIu32 " @%s", number, name);
		break;
	case STATEMENT_MARK:
		fprintf(file, "meta mark 0x%08" PRIx32, number);
		break;
	case STATEMENT_CT_MARK:
		fprintf(file, "ct mark 0x%08" PRIx32, number);
		break;
	case STATEMENT_ESTABLISHED:
		fputs("ct state established", file);
		break;
	case STATEMENT_REPLY:
		fputs("ct direction reply", file);
		break;
	case STATEMENT_DNAT:
		fputs("ct status dnat", file);
		break;
	case STATEMENT_TRANSPARENT:
		fputs("socket transparent 1 socket wildcard 0", file);
		break;
	case STATEMENT_COUNTER:
		fputs("counter", file);
		break;
	case STATEMENT_LIMIT:
		fprintf(file, "limit rate %" PRIu32 "/minute burst %d packets", number,
			LIMIT_BURST);
		break;
	case STATEMENT_LOG:
		fprintf(file, "log prefix \"%s\" level " LOG_LEVEL_NAME, name);
		break;
	case STATEMENT_SET_MARK:
		fprintf(file, "meta mark set 0x%08" PRIx32, number);
		break;
	case STATEMENT_SET_CT_MARK:
		fprintf(file, "ct mark set 0x%08" PRIx32, number);
		break;
	case STATEMENT_ACCEPT:
		fputs("accept", file);
		break;
	case STATEMENT_DROP:
		fputs("drop", file);
		break;
	case STATEMENT_RESET:
		fputs("reject with tcp reset", file);
		break;
	case STATEMENT_RETURN:
		fputs("return", file);
		break;
	case STATEMENT_JUMP:
		fprintf(file, "jump %s", name);
		break;
	case STATEMENT_GOTO:
		fprintf(file, "goto %s", name);
		break;
	case STATEMENT_REDIRECT:
		fprintf(file, "redirect to :%" PRIu32, number);
		break;
	case STATEMENT_TPROXY:
		print_tproxy(statement, file);
		break;
	case STATEMENT_KINDS:
		break;
	}
}

void rule_print(const struct rule *rule, FILE *file)
{
	for (size_t i = 0; i < rule->count; i++) {
		if (i > 0)
			putc(' ', file);
		statement_print(&rule->statements[i], file);
	}
}

/* --- in nft's JSON ---------------------------------------------------------------------- */

/* {"match": {"op": op, "left": left, "right": right}}; takes both. */
static json_t *match_json(const char *op, json_t *left, json_t *right)
{
	return json_pack("{s:{s:s, s:o, s:o}}", "match", "op", op, "left", left, "right", right);
}

static json_t *keyed_json(const char *what, const char *key)
{
	return json_pack("{s:{s:s}}", what, "key", key);
}

static json_t *payload_json(const char *protocol, const char *field)
{
	return json_pack("{s:{s:s, s:s}}", "payload", "protocol", protocol, "field", field);
}

static json_t *set_json(const char *name)
{
	return json_sprintf("@%s", name);
}

static json_t *mangle_json(const char *what, uint32_t mark)
{
	return json_pack("{s:{s:o, s:I}}", "mangle", "key", keyed_json(what, "mark"), "value",
			 (json_int_t)mark);
}

static json_t *ports_json(const struct statement *statement)
{
	if (statement->number == statement->last_number)
		return json_integer(statement->number);
	return json_pack("{s:[I, I]}", "range", (json_int_t)statement->number,
			 (json_int_t)statement->last_number);
}

static json_t *match_statement_json(const struct statement *statement)
{
	const char *family = ip(statement->family);

	switch (statement->kind) {
	case STATEMENT_DESTINATION:
		return match_json(
			"==",
			json_pack("{s:[o, o]}", "concat", payload_json(family, "daddr"),
				  payload_json(protocol_name(statement->protocol), "dport")),
			set_json(statement->name));
	case STATEMENT_ADDRESS:
		return match_json("==", payload_json(family, statement->source ? "saddr" : "daddr"),
				  set_json(statement->name));
	case STATEMENT_PORT:
		return match_json("==", payload_json("tcp", "dport"), set_json(statement->name));
	case STATEMENT_ADDRESSES:
		return match_json("==", payload_json(family, "daddr"),
				  set_type_addresses_json(statement->family, statement->first,
							  statement->last, false));
	case STATEMENT_PORTS:
		return match_json("==", payload_json(protocol_name(statement->protocol), "dport"),
				  ports_json(statement));
	case STATEMENT_FAMILY:
		return match_json("==", keyed_json("meta", "nfproto"),
				  json_string(family_name(statement->family)));
	case STATEMENT_PROTOCOL:
		return match_json("==", keyed_json("meta", "l4proto"),
				  json_string(protocol_name(statement->protocol)));
	case STATEMENT_INTERFACE:
		return match_json("==", keyed_json("meta", "iifname"), set_json(statement->name));
	case STATEMENT_LOOPBACK:
		return match_json("==", keyed_json("meta", "oifname"), json_string("lo"));
	case STATEMENT_USER:
		return match_json("==", keyed_json("meta", "skuid"), set_json(statement->name));
	case STATEMENT_CGROUP:
		return match_json("==",
				  json_pack("{s:{s:s, s:I}}", "socket", "key", "cgroupv2", "level",
					    (json_int_t)statement->number),
				  set_json(statement->name));
	case STATEMENT_MARK:
	case STATEMENT_CT_MARK:
		return match_json(
			"==", keyed_json(statement->kind == STATEMENT_MARK ? "meta" : "ct", "mark"),
			json_integer(statement->number));
	case STATEMENT_ESTABLISHED:
		return match_json("in", keyed_json("ct", "state"), json_string("established"));
	case STATEMENT_REPLY:
		return match_json("==", keyed_json("ct", "direction"), json_string("reply"));
	case STATEMENT_DNAT:
		return match_json("in", keyed_json("ct", "status"), json_string("dnat"));
	default:
		return NULL;
	}
}

static json_t *verdict_json(const char *verdict)
{
	return json_pack("{s:n}", verdict);
}

static json_t *tproxy_json(const struct statement *statement)
{
	char text[ADDRESS_TEXT_SIZE];

	return json_pack("{s:{s:s, s:s, s:i}}", "tproxy", "family",
			 ip(statement->address.any.sa_family), "addr",
			 address_print_host(&statement->address, text), "port",
			 (int)address_port(&statement->address));
}

static json_t *action_json(const struct statement *statement)
{
	switch (statement->kind) {
	case STATEMENT_COUNTER:
		return verdict_json("counter");
	case STATEMENT_LIMIT:
		return json_pack("{s:{s:I, s:i, s:s}}", "limit", "rate",
				 (json_int_t)statement->number, "burst", LIMIT_BURST, "per",
				 "minute");
	case STATEMENT_LOG:
		return json_pack("{s:{s:s, s:s}}", "log", "prefix", statement->name, "level",
				 LOG_LEVEL_NAME);
	case STATEMENT_SET_MARK:
		return mangle_json("meta", statement->number);
	case STATEMENT_SET_CT_MARK:
		return mangle_json("ct", statement->number);
	case STATEMENT_ACCEPT:
		return verdict_json("accept");
	case STATEMENT_DROP:
		return verdict_json("drop");
	case STATEMENT_RETURN:
		return verdict_json("return");
	case STATEMENT_RESET:
		return json_pack("{s:{s:s}}", "reject", "type", "tcp reset");
	case STATEMENT_JUMP:
		return json_pack("{s:{s:s}}", "jump", "target", statement->name);
	case STATEMENT_GOTO:
		return json_pack("{s:{s:s}}", "goto", "target", statement->name);
	case STATEMENT_REDIRECT:
		return json_pack("{s:{s:I}}", "redirect", "port", (json_int_t)statement->number);
	case STATEMENT_TPROXY:
		return tproxy_json(statement);
	default:
		return match_statement_json(statement);
	}
}

json_t *rule_json(const struct rule *rule)
{
	json_t *array = json_array();

	for (size_t i = 0; i < rule->count; i++) {
		const struct statement *statement = &rule->statements[i];

		if (statement->kind == STATEMENT_TRANSPARENT) {
			json_array_append_new(array,
					      match_json("==", keyed_json("socket", "transparent"),
							 json_integer(1)));
			json_array_append_new(array,
					      match_json("==", keyed_json("socket", "wildcard"),
							 json_integer(0)));
			continue;
		}
		json_array_append_new(array, action_json(statement));
	}
	return array;
}
