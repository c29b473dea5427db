/* SPDX-License-Identifier: Apache-2.0 */
#include "net/proxy_header.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

static const uint8_t signature[12] = {0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
				      0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a};

enum {
	VERSION_COMMAND_AT = 12,
	FAMILY_AT = 13,
	LENGTH_AT = 14,
	FIXED_SIZE = 16,
	VERSION_2_PROXY = 0x21,
	TCP_OVER_IPV4 = 0x11,
	TCP_OVER_IPV6 = 0x21,
	IPV4_SIZE = 12,
	IPV6_SIZE = 36,
};

static void read_v4(const uint8_t *body, struct address *client, struct address *destination)
{
	*client = (struct address){.v4.sin_family = AF_INET};
	*destination = *client;
	memcpy(&client->v4.sin_addr, body, 4);
	memcpy(&destination->v4.sin_addr, body + 4, 4);
	memcpy(&client->v4.sin_port, body + 8, 2);
	memcpy(&destination->v4.sin_port, body + 10, 2);
}

static void read_v6(const uint8_t *body, struct address *client, struct address *destination)
{
	*client = (struct address){.v6.sin6_family = AF_INET6};
	*destination = *client;
	memcpy(&client->v6.sin6_addr, body, 16);
	memcpy(&destination->v6.sin6_addr, body + 16, 16);
	memcpy(&client->v6.sin6_port, body + 32, 2);
	memcpy(&destination->v6.sin6_port, body + 34, 2);
}

int proxy_header_parse(const uint8_t *bytes, size_t size, struct address *client,
		       struct address *destination, size_t *consumed)
{
	size_t known = size < sizeof(signature) ? size : sizeof(signature);
	size_t length;

	if (memcmp(bytes, signature, known) != 0)
		return -EPROTO;
	if (size > VERSION_COMMAND_AT && bytes[VERSION_COMMAND_AT] != VERSION_2_PROXY)
		return -EPROTO;
	if (size > FAMILY_AT && bytes[FAMILY_AT] != TCP_OVER_IPV4 &&
	    bytes[FAMILY_AT] != TCP_OVER_IPV6)
		return -EPROTO;
	if (size < FIXED_SIZE)
		return PROXY_HEADER_MORE;
	length = get_be16(bytes + LENGTH_AT);
	if (length < (bytes[FAMILY_AT] == TCP_OVER_IPV4 ? IPV4_SIZE : IPV6_SIZE) ||
	    FIXED_SIZE + length > PROXY_HEADER_MAX)
		return -EPROTO;
	if (size < FIXED_SIZE + length)
		return PROXY_HEADER_MORE;
	if (bytes[FAMILY_AT] == TCP_OVER_IPV4)
		read_v4(bytes + FIXED_SIZE, client, destination);
	else
		read_v6(bytes + FIXED_SIZE, client, destination);
	*consumed = FIXED_SIZE + length;
	return 0;
}

/* In an IPv6 header an IPv4 host stands as ::ffff:a.b.c.d (RFC 4291 2.5.5.2). */
static void write_v6_host(uint8_t host[16], const struct address *address)
{
	if (address->any.sa_family == AF_INET6) {
		memcpy(host, &address->v6.sin6_addr, 16);
		return;
	}
	memset(host, 0, 10);
	memset(host + 10, 0xff, 2);
	memcpy(host + 12, &address->v4.sin_addr, 4);
}

size_t proxy_header_write(uint8_t bytes[PROXY_HEADER_MAX], const struct address *client,
			  const struct address *destination)
{
	bool v6 = client->any.sa_family == AF_INET6 || destination->any.sa_family == AF_INET6;
	size_t length = v6 ? IPV6_SIZE : IPV4_SIZE;
	uint8_t *body = bytes + FIXED_SIZE;

	memcpy(bytes, signature, sizeof(signature));
	bytes[VERSION_COMMAND_AT] = VERSION_2_PROXY;
	bytes[FAMILY_AT] = v6 ? TCP_OVER_IPV6 : TCP_OVER_IPV4;
	put_be16(bytes + LENGTH_AT, (uint16_t)length);
	if (v6) {
		write_v6_host(body, client);
		write_v6_host(body + 16, destination);
		put_be16(body + 32, address_port(client));
		put_be16(body + 34, address_port(destination));
	} else {
		memcpy(body, &client->v4.sin_addr, 4);
		memcpy(body + 4, &destination->v4.sin_addr, 4);
		memcpy(body + 8, &client->v4.sin_port, 2);
		memcpy(body + 10, &destination->v4.sin_port, 2);
	}
	return FIXED_SIZE + length;
}
