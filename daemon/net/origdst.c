/* SPDX-License-Identifier: Apache-2.0 */
#include "net/origdst.h"

#include "net/socket.h"

#include <errno.h>

/* <linux/netfilter_ipv4.h> and <linux/netfilter_ipv6/ip6_tables.h>; both drag in too much. */
#define SO_ORIGINAL_DST      80
#define IP6T_SO_ORIGINAL_DST 80

int origdst_get(int fd, struct address *destination)
{
	struct sockaddr_storage storage = {0};
	socklen_t size = sizeof(storage);
	struct address local, peer = {.any.sa_family = AF_UNSPEC};
	int error = socket_local(fd, &local);

	if (error == 0)
		error = socket_peer(fd, &peer);
	if (error < 0)
		return error;
	/* socket_peer() made an IPv4-mapped peer plain, and conntrack knows such a flow as IPv4. */
	if (peer.any.sa_family == AF_INET6)
		error = getsockopt(fd, IPPROTO_IPV6, IP6T_SO_ORIGINAL_DST, &storage, &size);
	else
		error = getsockopt(fd, IPPROTO_IP, SO_ORIGINAL_DST, &storage, &size);
	if (error < 0)
		/* No conntrack entry, or no conntrack at all: nothing redirected this. */
		return errno == ENOENT || errno == ENOPROTOOPT ? ORIGDST_NOT_REDIRECTED : -errno;
	address_from_sockaddr(&storage, destination);
	/* A tracked but direct connection answers with the listener's own address: a loop. */
	return address_equal(destination, &local) ? ORIGDST_NOT_REDIRECTED : 0;
}
