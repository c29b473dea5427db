/* SPDX-License-Identifier: Apache-2.0 */
#include "net/client_owner.h"

#include "base/error.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* Kernel 5.8; missing in older headers. */
#define DIAG_CGROUP_ID 21

static void set_end(const struct address *address, __be16 *port, __be32 *host)
{
	if (address->any.sa_family == AF_INET6) {
		*port = address->v6.sin6_port;
		memcpy(host, &address->v6.sin6_addr, sizeof(address->v6.sin6_addr));
	} else {
		*port = address->v4.sin_port;
		memcpy(host, &address->v4.sin_addr, sizeof(address->v4.sin_addr));
	}
}

struct question {
	struct nlmsghdr header;
	struct inet_diag_req_v2 request;
};

static struct question make_question(uint8_t family, uint16_t flags, uint32_t states)
{
	return (struct question){
		.header = {.nlmsg_len = sizeof(struct question),
			   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			   .nlmsg_flags = NLM_F_REQUEST | flags},
		.request = {.sdiag_family = family,
			    .sdiag_protocol = IPPROTO_TCP,
			    .idiag_states = states,
			    .id.idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}},
	};
}

static int ask(int fd, const struct address *client, const struct address *dialled)
{
	struct question question = make_question((uint8_t)client->any.sa_family, 0, ~0U);
	struct inet_diag_sockid *id = &question.request.id;

	set_end(client, &id->idiag_sport, id->idiag_src);
	set_end(dialled, &id->idiag_dport, id->idiag_dst);
	return send(fd, &question, sizeof(question), 0) < 0 ? -errno : 0;
}

static uint64_t cgroup_of(const struct nlmsghdr *header, const struct inet_diag_msg *message)
{
	int left = (int)(header->nlmsg_len - NLMSG_LENGTH(sizeof(*message)));
	uint64_t cgroup = 0;

	for (const struct rtattr *attribute = (const void *)(message + 1); RTA_OK(attribute, left);
	     attribute = RTA_NEXT(attribute, left))
		if (attribute->rta_type == DIAG_CGROUP_ID &&
		    RTA_PAYLOAD(attribute) == sizeof(cgroup))
			memcpy(&cgroup, RTA_DATA(attribute), sizeof(cgroup));
	return cgroup;
}

static bool same_hosts(const struct inet_diag_msg *message, const struct address *client,
		       const struct address *dialled)
{
	__be16 sport, dport;
	__be32 source[4] = {0}, destination[4] = {0};
	size_t size = client->any.sa_family == AF_INET6 ? 16 : 4;
	/* A dual-stack program's IPv4 connection is told as ::ffff:a.b.c.d. */
	size_t word = message->idiag_family == AF_INET6 && size == 4 ? 3 : 0;

	set_end(client, &sport, source);
	set_end(dialled, &dport, destination);
	return message->id.idiag_dport == dport &&
	       memcmp(message->id.idiag_src + word, source, size) == 0 &&
	       memcmp(message->id.idiag_dst + word, destination, size) == 0;
}

/* The kernel's look-up also finds listeners; only the exact connection will do. */
static bool same_ends(const struct inet_diag_msg *message, const struct address *client,
		      const struct address *dialled)
{
	return message->id.idiag_sport == htons(address_port(client)) &&
	       same_hosts(message, client, dialled);
}

/* --- a source port that the redirect has changed ---------------------------------------------- */

struct candidates {
	const struct address *client, *dialled;
	struct client_owner owner;
	bool found, differ;
};

static void consider(struct candidates *candidates, const struct nlmsghdr *header)
{
	const struct inet_diag_msg *message = NLMSG_DATA(header);
	uint64_t cgroup = cgroup_of(header, message);

	if (!same_hosts(message, candidates->client, candidates->dialled))
		return;
	if (!candidates->found)
		candidates->owner =
			(struct client_owner){.uid = message->idiag_uid, .cgroup = cgroup};
	candidates->found = true;
	if (candidates->owner.uid != message->idiag_uid)
		candidates->differ = true;
	if (candidates->owner.cgroup != cgroup)
		candidates->owner.cgroup = 0;
}

/* One datagram of a dump. 0: more to come; 1: that was all; -errno. */
static int consider_all(struct candidates *candidates, const void *bytes, int left)
{
	const struct nlmsghdr *header;

	for (header = bytes; NLMSG_OK(header, (unsigned int)left);
	     header = NLMSG_NEXT(header, left)) {
		if (header->nlmsg_type == NLMSG_DONE)
			return 1;
		if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
		    header->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
			return -EPROTO;
		consider(candidates, header);
	}
	return 0;
}

static int look_among(struct candidates *candidates, uint8_t family)
{
	cleanup_fd int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	struct question question = make_question(family, NLM_F_DUMP, 1U << TCP_ESTABLISHED);
	_Alignas(struct nlmsghdr) char answer[16384];
	ssize_t got;
	int outcome = 0;

	question.request.id.idiag_dport = htons(address_port(candidates->dialled));
	if (fd < 0 || send(fd, &question, sizeof(question), 0) < 0)
		return -errno;
	while (outcome == 0) {
		got = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
		outcome = got < 0 ? -errno : consider_all(candidates, answer, (int)got);
	}
	return outcome < 0 ? outcome : 0;
}

/* Other hosts' clients are many and must not cost a walk over all sockets. */
static bool is_address_of_this_host(const struct address *address)
{
	cleanup_fd int fd = socket(address->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct address any_port = *address;

	address_set_port(&any_port, 0);
	return fd >= 0 && bind(fd, &any_port.any, address_size(&any_port)) == 0;
}

static int get_among(const struct address *client, const struct address *dialled,
		     struct client_owner *owner)
{
	struct candidates candidates = {.client = client, .dialled = dialled};
	int error = 0;

	if (!is_address_of_this_host(client))
		return CLIENT_OWNER_NOT_LOCAL;
	if (client->any.sa_family == AF_INET)
		error = look_among(&candidates, AF_INET);
	if (error == 0)
		error = look_among(&candidates, AF_INET6);
	if (error < 0)
		return error;
	if (!candidates.found || candidates.differ)
		return CLIENT_OWNER_NOT_LOCAL;
	*owner = candidates.owner;
	return CLIENT_OWNER_AMONG;
}

/* --- the usual case --------------------------------------------------------------------------- */

int client_owner_get(const struct address *client, const struct address *dialled,
		     struct client_owner *owner)
{
	cleanup_fd int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	_Alignas(struct nlmsghdr) char answer[4096];
	const struct nlmsghdr *header = (const void *)answer;
	const struct inet_diag_msg *message = NLMSG_DATA(header);
	ssize_t got;
	int error;

	if (fd < 0)
		return -errno;
	error = ask(fd, client, dialled);
	if (error < 0)
		return error;
	got = recv(fd, answer, sizeof(answer), MSG_DONTWAIT);
	if (got < 0)
		return -errno;
	if (!NLMSG_OK(header, (unsigned int)got))
		return -EPROTO;
	if (header->nlmsg_type == NLMSG_ERROR) {
		error = ((const struct nlmsgerr *)NLMSG_DATA(header))->error;
		if (error == -ENOENT)
			return get_among(client, dialled, owner);
		return error ? error : -EPROTO;
	}
	if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    header->nlmsg_len < NLMSG_LENGTH(sizeof(*message)))
		return -EPROTO;
	if (!same_ends(message, client, dialled))
		return get_among(client, dialled, owner);
	/* Closed already: the kernel then answers user 0, and whoever sends and runs would be root.
	 */
	if (message->idiag_inode == 0)
		return CLIENT_OWNER_NONE;
	owner->uid = message->idiag_uid;
	owner->cgroup = cgroup_of(header, message);
	return 0;
}

bool client_owner_in_cgroup(const struct client_owner *owner, const char *path)
{
	char full[4096];
	struct stat status;

	/* The id of a control group is the inode number of its folder (kernfs). */
	snprintf(full, sizeof(full), "/sys/fs/cgroup%s", path);
	return owner->cgroup != 0 && stat(full, &status) == 0 && status.st_ino == owner->cgroup;
}
