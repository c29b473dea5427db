/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "divert.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>

#define REQUEST_SIZE 256

struct search {
	const struct divert *divert;
	bool found;
};

static struct nlmsghdr *request(char *buffer, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);

	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	return message;
}

/* --- the rule --------------------------------------------------------------------------- */

static int take_rule(const struct nlmsghdr *message, void *data)
{
	struct search *search = data;
	const struct fib_rule_hdr *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *attribute;
	uint32_t mark = 0, mask = UINT32_MAX, table = header->table;

	for (attribute = netlink_next(message, sizeof(*header), NULL); attribute != NULL;
	     attribute = netlink_next(message, sizeof(*header), attribute)) {
		switch (mnl_attr_get_type(attribute)) {
		case FRA_FWMARK:
			mark = mnl_attr_get_u32(attribute);
			break;
		case FRA_FWMASK:
			mask = mnl_attr_get_u32(attribute);
			break;
		case FRA_TABLE:
			table = mnl_attr_get_u32(attribute);
			break;
		default:
			break;
		}
	}
	if (header->family == search->divert->family && header->action == FR_ACT_TO_TBL &&
	    mark == search->divert->mark && mask == UINT32_MAX && table == search->divert->table)
		search->found = true;
	return MNL_CB_OK;
}

static int find_rule(struct netlink *route, const struct divert *divert, bool *found)
{
	char buffer[REQUEST_SIZE];
	struct nlmsghdr *message = request(buffer, RTM_GETRULE, NLM_F_DUMP);
	struct fib_rule_hdr *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	struct search search = {.divert = divert};
	int error;

	header->family = (uint8_t)divert->family;
	error = netlink_ask(route, message, take_rule, &search);
	*found = search.found;
	return error;
}

static int change_rule(struct netlink *route, const struct divert *divert, bool add)
{
	char buffer[REQUEST_SIZE];
	struct nlmsghdr *message = request(buffer, add ? RTM_NEWRULE : RTM_DELRULE,
					   add ? NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL : NLM_F_ACK);
	struct fib_rule_hdr *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));

	header->family = (uint8_t)divert->family;
	header->action = FR_ACT_TO_TBL;
	header->table = (uint8_t)divert->table;
	mnl_attr_put_u32(message, FRA_FWMARK, divert->mark);
	mnl_attr_put_u32(message, FRA_TABLE, divert->table);
	return netlink_ask(route, message, NULL, NULL);
}

/* --- the route -------------------------------------------------------------------------- */

static int take_route(const struct nlmsghdr *message, void *data)
{
	struct search *search = data;
	const struct rtmsg *header = mnl_nlmsg_get_payload(message);
	const struct nlattr *attribute;
	uint32_t table = header->rtm_table;

	for (attribute = netlink_next(message, sizeof(*header), NULL); attribute != NULL;
	     attribute = netlink_next(message, sizeof(*header), attribute)) {
		if (mnl_attr_get_type(attribute) == RTA_TABLE)
			table = mnl_attr_get_u32(attribute);
	}
	if (header->rtm_family == search->divert->family && header->rtm_type == RTN_LOCAL &&
	    header->rtm_dst_len == 0 && table == search->divert->table)
		search->found = true;
	return MNL_CB_OK;
}

static int find_route(struct netlink *route, const struct divert *divert, bool *found)
{
	char buffer[REQUEST_SIZE];
	struct nlmsghdr *message = request(buffer, RTM_GETROUTE, NLM_F_DUMP);
	struct rtmsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));
	struct search search = {.divert = divert};
	int error;

	header->rtm_family = (uint8_t)divert->family;
	error = netlink_ask(route, message, take_route, &search);
	*found = search.found;
	return error;
}

static int change_route(struct netlink *route, const struct divert *divert, bool add)
{
	char buffer[REQUEST_SIZE];
	struct nlmsghdr *message = request(buffer, add ? RTM_NEWROUTE : RTM_DELROUTE,
					   add ? NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL : NLM_F_ACK);
	struct rtmsg *header = mnl_nlmsg_put_extra_header(message, sizeof(*header));

	header->rtm_family = (uint8_t)divert->family;
	header->rtm_table = (uint8_t)divert->table;
	header->rtm_type = RTN_LOCAL;
	header->rtm_scope = RT_SCOPE_HOST;
	header->rtm_protocol = RTPROT_STATIC;
	mnl_attr_put_u32(message, RTA_TABLE, divert->table);
	mnl_attr_put_u32(message, RTA_OIF, if_nametoindex("lo"));
	return netlink_ask(route, message, NULL, NULL);
}

/* --- both ------------------------------------------------------------------------------- */

int divert_read(struct netlink *route, const struct divert *divert, struct divert_there *there)
{
	int error = find_rule(route, divert, &there->rule);

	return error == 0 ? find_route(route, divert, &there->route) : error;
}

/* A rule that leads to an empty table leads nowhere: the route comes first, and goes last. */
int divert_set(struct netlink *route, const struct divert *divert,
	       const struct divert_there *wanted)
{
	struct divert_there now = {false, false};
	int error = divert_read(route, divert, &now);

	if (error == 0 && wanted->route && !now.route)
		error = change_route(route, divert, true);
	if (error == 0 && wanted->rule != now.rule)
		error = change_rule(route, divert, wanted->rule);
	if (error == 0 && !wanted->route && now.route)
		error = change_route(route, divert, false);
	return error;
}
