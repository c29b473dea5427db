/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/common.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

int netlink_open(struct netlink *netlink, int bus)
{
	static const int on = 1;
	int error;

	*netlink = (struct netlink){0};
	netlink->socket = mnl_socket_open2(bus, SOCK_CLOEXEC);
	if (netlink->socket == NULL)
		return -errno;
	if (mnl_socket_bind(netlink->socket, 0, MNL_SOCKET_AUTOPID) < 0) {
		error = -errno;
		netlink_close(netlink);
		return error;
	}
	netlink->port = mnl_socket_get_portid(netlink->socket);
	/* Errors that say which attribute; without the request's echo they come right behind. */
	(void)mnl_socket_setsockopt(netlink->socket, NETLINK_EXT_ACK, (void *)&on, sizeof(on));
	(void)mnl_socket_setsockopt(netlink->socket, NETLINK_CAP_ACK, (void *)&on, sizeof(on));
	return 0;
}

void netlink_close(struct netlink *netlink)
{
	if (netlink->socket != NULL)
		mnl_socket_close(netlink->socket);
	netlink->socket = NULL;
}

int netlink_ask(struct netlink *netlink, struct nlmsghdr *message, mnl_cb_t callback, void *data)
{
	char buffer[65536];
	int more = 1;
	ssize_t size;

	message->nlmsg_seq = ++netlink->sequence;
	if (mnl_socket_sendto(netlink->socket, message, message->nlmsg_len) < 0)
		return -errno;
	while (more > 0) {
		size = mnl_socket_recvfrom(netlink->socket, buffer, sizeof(buffer));
		if (size < 0)
			return -errno;
		more = mnl_cb_run(buffer, (size_t)size, netlink->sequence, netlink->port, callback,
				  data);
		if (more < 0)
			return -errno;
	}
	return 0;
}

const struct nlattr *netlink_next(const struct nlmsghdr *message, size_t header,
				  const struct nlattr *last)
{
	const struct nlattr *next =
		last ? mnl_attr_next(last) : mnl_nlmsg_get_payload_offset(message, header);
	const char *end = mnl_nlmsg_get_payload_tail(message);

	return mnl_attr_ok(next, (int)(end - (const char *)next)) ? next : NULL;
}

static int take_generation(const struct nlmsghdr *message, void *data)
{
	const struct nlattr *attribute;

	for (attribute = netlink_next(message, sizeof(struct nfgenmsg), NULL); attribute != NULL;
	     attribute = netlink_next(message, sizeof(struct nfgenmsg), attribute)) {
		if (mnl_attr_get_type(attribute) == NFTA_GEN_ID)
			*(uint32_t *)data = ntohl(mnl_attr_get_u32(attribute));
	}
	return MNL_CB_OK;
}

int netlink_generation(struct netlink *netlink, uint32_t *generation)
{
	char buffer[MNL_NLMSG_HDRLEN + 64];
	struct nlmsghdr *message =
		nftnl_nlmsg_build_hdr(buffer, NFT_MSG_GETGEN, AF_UNSPEC, NLM_F_ACK, 0);

	*generation = 0;
	return netlink_ask(netlink, message, take_generation, generation);
}
