/* SPDX-License-Identifier: Apache-2.0 */
#include "net/client_owner.h"

#include "base/error.h"

#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
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

static int ask(int fd, const struct address *client, const struct address *dialled)
{
	struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 request;
	} message = {
		.header = {.nlmsg_len = sizeof(message),
			   .nlmsg_type = SOCK_DIAG_BY_FAMILY,
			   .nlmsg_flags = NLM_F_REQUEST},
		.request = {.sdiag_family = (__u8)client->any.sa_family,
			    .sdiag_protocol = IPPROTO_TCP,
			    .idiag_states = ~0U,
			    .id.idiag_cookie = {INET_DIAG_NOCOOKIE, INET_DIAG_NOCOOKIE}},
	};

	set_end(client, &message.request.id.idiag_sport, message.request.id.idiag_src);
	set_end(dialled, &message.request.id.idiag_dport, message.request.id.idiag_dst);
	return send(fd, &message, sizeof(message), 0) < 0 ? -errno : 0;
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

static bool same_ends(const struct inet_diag_msg *message, const struct address *client,
		      const struct address *dialled)
{
	__be16 sport, dport;
	__be32 source[4] = {0}, destination[4] = {0};
	size_t size = client->any.sa_family == AF_INET6 ? 16 : 4;
	/* A dual-stack program's IPv4 connection is told as ::ffff:a.b.c.d. */
	size_t word = message->idiag_family == AF_INET6 && size == 4 ? 3 : 0;

	set_end(client, &sport, source);
	set_end(dialled, &dport, destination);
	/* The kernel's look-up also finds listeners; only the exact connection will do. */
	return message->id.idiag_sport == sport && message->id.idiag_dport == dport &&
	       memcmp(message->id.idiag_src + word, source, size) == 0 &&
	       memcmp(message->id.idiag_dst + word, destination, size) == 0;
}

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
		return error == -ENOENT ? CLIENT_OWNER_NOT_LOCAL : error ? error : -EPROTO;
	}
	if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    header->nlmsg_len < NLMSG_LENGTH(sizeof(*message)))
		return -EPROTO;
	if (!same_ends(message, client, dialled))
		return CLIENT_OWNER_NOT_LOCAL;
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
