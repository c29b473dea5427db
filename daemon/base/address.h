/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Socket addresses (IPv4 and IPv6) and address ranges: parse, print, compare.
 * Here and not in net/ because config/, which may not look at net/, holds them too.
 */
#ifndef MCSEAL_BASE_ADDRESS_H
#define MCSEAL_BASE_ADDRESS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* "[fd30::10]:65535" and the scope of a link-local address fit. */
#define ADDRESS_TEXT_SIZE 80

/* family AF_UNSPEC = no address. Ports and addresses inside are in network byte order. */
struct address {
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	};
};

/* A block of addresses: the first `prefix` bits of `base` count. */
struct address_prefix {
	struct address base;
	uint8_t bits; /* 0..32 or 0..128 */
};

/*
 * "192.0.2.1:5007", "[fd30::10]:5007". Numeric only: no name is ever looked up. Port 0 ("any", for
 * a listener) is let through; who needs a real one asks. Returns 0 or
 * -EINVAL; *address is written only on success.
 */
int address_parse(const char *text, struct address *address);
/* The same without a port ("192.0.2.1", "fd30::10"); `port` in host byte order is put in. */
int address_parse_host(const char *text, uint16_t port, struct address *address);
/* "192.0.2.0/24", "fd30::/64" or a single address. -EINVAL also when host bits are set. */
int address_prefix_parse(const char *text, struct address_prefix *prefix);

/* `text` holds ADDRESS_TEXT_SIZE bytes; returns it. AF_UNSPEC prints as "-". */
const char *address_print(const struct address *address, char *text);
/* Without the port and without brackets. */
const char *address_print_host(const struct address *address, char *text);

/* sizeof the sockaddr in use, for bind(2) and connect(2); 0 for AF_UNSPEC. */
socklen_t address_size(const struct address *address);
/* Host byte order; 0 for AF_UNSPEC. */
uint16_t address_port(const struct address *address);
void address_set_port(struct address *address, uint16_t port);

/* Same family, address and port (an IPv4-mapped IPv6 address equals its IPv4 address). */
bool address_equal(const struct address *a, const struct address *b);
bool address_same_host(const struct address *a, const struct address *b);
bool address_in_prefix(const struct address *address, const struct address_prefix *prefix);

/* From accept(2) and friends; an IPv4-mapped address becomes a plain IPv4 one. */
void address_from_sockaddr(const struct sockaddr_storage *from, struct address *address);

#endif
