/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "flow.h"

#include "netlink.h"

#include <errno.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack.h>
#include <libnetfilter_conntrack/libnetfilter_conntrack_tcp.h>
#include <linux/inet_diag.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

struct flows {
	struct flow *items;
	size_t count;
};

struct search {
	const struct plan *plan;
	const struct config *config;
	struct flows found;
	struct flows redirected; /* by connection tracking: not plain any more */
};

/* --- is it for a protected PLC? --------------------------------------------------------- */

static bool is_protected(const struct search *search, const struct address *to)
{
	struct address_prefix host = {.base = *to, .bits = to->any.sa_family == AF_INET ? 32 : 128};
	struct cover_block at;
	uint16_t port = address_port(to);

	cover_block_set(&at, &host);
	for (size_t i = 0; i < search->plan->protected_count; i++) {
		const struct plan_protected *protected = &search->plan->protected[i];
		const struct cover_block *block = &protected->block;

		if (protected->family == to->any.sa_family && block->first <= at.first &&
		    at.first <= block->last &&
		    (protected->plant || (block->first_port <= port && port <= block->last_port)))
			return true;
	}
	return false;
}

/* Flows are zeroed before they are filled: any order will do, as long as it is one. */
static int compare_flows(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct flow));
}

static void sort_flows(struct flows *flows)
{
	size_t kept = 0;

	if (flows->count == 0)
		return;
	qsort(flows->items, flows->count, sizeof(*flows->items), compare_flows);
	for (size_t i = 0; i < flows->count; i++) {
		if (i == 0 || compare_flows(&flows->items[i], &flows->items[kept - 1]) != 0)
			flows->items[kept++] = flows->items[i];
	}
	flows->count = kept;
}

/* In sorted ones. */
static bool has_flow(const struct flows *flows, const struct flow *flow)
{
	return flows->count > 0 &&
	       bsearch(flow, flows->items, flows->count, sizeof(*flow), compare_flows) != NULL;
}

/* gcc 12 loses sight of what is stored in a struct of the caller's. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

/* A busy machine has a hundred thousand: nothing here may be slower than a sort. */
static int add_flow(struct flows *flows, const struct flow *flow)
{
	size_t room = flows->count == 0 ? 64 : 2 * flows->count;
	struct flow *grown;

	if (flows->count == 0 || (flows->count >= 64 && (flows->count & (flows->count - 1)) == 0)) {
		grown = reallocarray(flows->items, room, sizeof(*grown));
		if (grown == NULL)
			return -ENOMEM;
		flows->items = grown;
	}
	flows->items[flows->count++] = *flow;
	return 0;
}

#pragma GCC diagnostic pop

/* --- this machine's own ----------------------------------------------------------------- */

static void set_address(struct address *address, int family, const void *bytes, uint16_t port)
{
	memset(address, 0, sizeof(*address));
	address->any.sa_family = (sa_family_t)family;
	if (family == AF_INET) {
		memcpy(&address->v4.sin_addr, bytes, 4);
		address->v4.sin_port = port;
	} else {
		memcpy(&address->v6.sin6_addr, bytes, 16);
		address->v6.sin6_port = port;
	}
}

static int take_socket(const struct nlmsghdr *message, void *data)
{
	struct search *search = data;
	const struct inet_diag_msg *socket = mnl_nlmsg_get_payload(message);
	const struct nlattr *attribute;
	struct flow flow;
	uint32_t mark = 0;

	memset(&flow, 0, sizeof(flow));
	flow.protocol = IPPROTO_TCP;
	for (attribute = netlink_next(message, sizeof(*socket), NULL); attribute != NULL;
	     attribute = netlink_next(message, sizeof(*socket), attribute)) {
		if (mnl_attr_get_type(attribute) == INET_DIAG_MARK)
			mark = mnl_attr_get_u32(attribute);
	}
	set_address(&flow.from, socket->idiag_family, socket->id.idiag_src, socket->id.idiag_sport);
	set_address(&flow.to, socket->idiag_family, socket->id.idiag_dst, socket->id.idiag_dport);
	if ((mark != 0 && mark == search->config->mark) || !is_protected(search, &flow.to) ||
	    has_flow(&search->redirected, &flow))
		return MNL_CB_OK;
	return add_flow(&search->found, &flow) < 0 ? MNL_CB_ERROR : MNL_CB_OK;
}

static int find_local(struct search *search, int family)
{
	char buffer[MNL_NLMSG_HDRLEN + sizeof(struct inet_diag_req_v2) + 64];
	struct nlmsghdr *message = mnl_nlmsg_put_header(buffer);
	struct inet_diag_req_v2 *request = mnl_nlmsg_put_extra_header(message, sizeof(*request));
	struct netlink netlink;
	int error = netlink_open(&netlink, NETLINK_SOCK_DIAG);

	if (error < 0)
		return error;
	message->nlmsg_type = SOCK_DIAG_BY_FAMILY;
	message->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	request->sdiag_family = (uint8_t)family;
	request->sdiag_protocol = IPPROTO_TCP;
	request->idiag_states = 1U << TCP_ESTABLISHED | 1U << TCP_CLOSE_WAIT;
	error = netlink_ask(&netlink, message, take_socket, search);
	netlink_close(&netlink);
	return error;
}

/* --- what connection tracking knows ----------------------------------------------------- */

static bool read_tuple(const struct nf_conntrack *entry, struct flow *flow)
{
	uint8_t family = nfct_get_attr_u8(entry, ATTR_ORIG_L3PROTO);
	bool v4 = family == AF_INET;

	flow->protocol = nfct_get_attr_u8(entry, ATTR_ORIG_L4PROTO);
	if ((family != AF_INET && family != AF_INET6) ||
	    (flow->protocol != IPPROTO_TCP && flow->protocol != IPPROTO_UDP))
		return false;
	set_address(&flow->from, family,
		    nfct_get_attr(entry, v4 ? ATTR_ORIG_IPV4_SRC : ATTR_ORIG_IPV6_SRC),
		    nfct_get_attr_u16(entry, ATTR_ORIG_PORT_SRC));
	set_address(&flow->to, family,
		    nfct_get_attr(entry, v4 ? ATTR_ORIG_IPV4_DST : ATTR_ORIG_IPV6_DST),
		    nfct_get_attr_u16(entry, ATTR_ORIG_PORT_DST));
	return true;
}

static int take_entry(enum nf_conntrack_msg_type type, struct nf_conntrack *entry, void *data)
{
	struct search *search = data;
	struct flows *flows = &search->found;
	struct flow flow;

	(void)type;
	memset(&flow, 0, sizeof(flow));
	if (!read_tuple(entry, &flow) ||
	    (flow.protocol == IPPROTO_TCP &&
	     nfct_get_attr_u8(entry, ATTR_TCP_STATE) != TCP_CONNTRACK_ESTABLISHED) ||
	    !is_protected(search, &flow.to))
		return NFCT_CB_CONTINUE;
	if ((nfct_get_attr_u32(entry, ATTR_STATUS) & IPS_DST_NAT) != 0)
		flows = &search->redirected;
	else if (nfct_get_attr_u32(entry, ATTR_MARK) == search->config->nft.flow_mark)
		return NFCT_CB_CONTINUE;
	return add_flow(flows, &flow) < 0 ? NFCT_CB_FAILURE : NFCT_CB_CONTINUE;
}

static int find_tracked(struct search *search)
{
	struct nfct_handle *handle = nfct_open(CONNTRACK, 0);
	uint32_t family = AF_UNSPEC;
	int error = 0;

	/* No connection tracking in this kernel, or nothing has asked for it yet. */
	if (handle == NULL)
		return 0;
	nfct_callback_register(handle, NFCT_T_ALL, take_entry, search);
	if (nfct_query(handle, NFCT_Q_DUMP, &family) < 0)
		error = -errno;
	nfct_close(handle);
	return error == -EINVAL || error == -EOPNOTSUPP || error == -EPROTONOSUPPORT ? 0 : error;
}

int flows_find(const struct plan *plan, const struct config *config, struct flow **flows,
	       size_t *count)
{
	struct search search = {.plan = plan, .config = config};
	/* First: a socket does not know that its packets are redirected. */
	int error = find_tracked(&search);

	sort_flows(&search.redirected);
	if (error == 0)
		error = find_local(&search, AF_INET);
	if (error == 0)
		error = find_local(&search, AF_INET6);
	free(search.redirected.items);
	sort_flows(&search.found);
	if (error < 0) {
		free(search.found.items);
		search.found = (struct flows){0};
	}
	*flows = search.found.items;
	*count = search.found.count;
	return error;
}
