/* SPDX-License-Identifier: Apache-2.0 */
#include "base/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAPPED_PREFIX_BITS 96 /* ::ffff:0:0/96, RFC 4291 section 2.5.5.2 */

/* Decimal digits only, no sign, no blank, no leading plus: strtoul(3) alone takes all of those. */
static int parse_number(const char *text, unsigned int maximum, unsigned int *number)
{
	uint64_t value = 0;
	size_t digits = 0;

	for (; text[digits] >= '0' && text[digits] <= '9' && digits < 10; digits++) {
		value = value * 10 + (uint64_t)(text[digits] - '0');
		if (value > maximum)
			return -EINVAL;
	}
	if (digits == 0 || text[digits] != '\0')
		return -EINVAL;
	*number = (unsigned int)value;
	return 0;
}

/* An IPv4-mapped IPv6 address is the IPv4 host to everybody who compares. */
static void unmap(struct address *address)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};

	if (address->any.sa_family != AF_INET6 || !IN6_IS_ADDR_V4MAPPED(&address->v6.sin6_addr))
		return;
	v4.sin_port = address->v6.sin6_port;
	memcpy(&v4.sin_addr, address->v6.sin6_addr.s6_addr + 12, sizeof(v4.sin_addr));
	memset(address, 0, sizeof(*address));
	address->v4 = v4;
}

/* RFC 4007 section 11: "fe80::1%eth0" or "%2". `scope` is what follows the percent sign. */
static int parse_scope(const char *scope, uint32_t *id)
{
	unsigned int index;

	if (parse_number(scope, INT32_MAX, &index) < 0)
		index = if_nametoindex(scope);
	if (index == 0)
		return -EINVAL;
	*id = index;
	return 0;
}

static int parse_v6(const char *text, struct sockaddr_in6 *v6)
{
	char host[INET6_ADDRSTRLEN];
	const char *scope = strchr(text, '%');
	size_t size = scope ? (size_t)(scope - text) : strlen(text);

	if (size >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, size);
	host[size] = '\0';
	if (inet_pton(AF_INET6, host, &v6->sin6_addr) != 1)
		return -EINVAL;
	v6->sin6_family = AF_INET6;
	if (!scope)
		return 0;
	/* Only a link-local address is ambiguous without a scope. */
	if (!IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr))
		return -EINVAL;
	return parse_scope(scope + 1, &v6->sin6_scope_id);
}

/* Like address_parse_host(), but a mapped address stays as written. */
static int parse_plain_host(const char *text, uint16_t port, struct address *address)
{
	struct address parsed;

	memset(&parsed, 0, sizeof(parsed));
	if (inet_pton(AF_INET, text, &parsed.v4.sin_addr) == 1)
		parsed.v4.sin_family = AF_INET;
	else if (parse_v6(text, &parsed.v6) < 0)
		return -EINVAL;
	address_set_port(&parsed, port);
	*address = parsed;
	return 0;
}

int address_parse_host(const char *text, uint16_t port, struct address *address)
{
	int error = parse_plain_host(text, port, address);

	if (error == 0)
		unmap(address);
	return error;
}

int address_parse(const char *text, struct address *address)
{
	char host[ADDRESS_TEXT_SIZE];
	const char *colon = strrchr(text, ':');
	bool bracketed = text[0] == '[';
	unsigned int port;
	size_t size;

	if (!colon || parse_number(colon + 1, UINT16_MAX, &port) < 0)
		return -EINVAL;
	size = (size_t)(colon - text);
	if (bracketed) {
		if (size < 2 || text[size - 1] != ']')
			return -EINVAL;
		text++;
		size -= 2;
	}
	if (size >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, size);
	host[size] = '\0';
	/* "fd30::10:5007" is an address without a port: brackets are what tells them apart. */
	if (bracketed != (strchr(host, ':') != NULL))
		return -EINVAL;
	return address_parse_host(host, (uint16_t)port, address);
}

/* The address bytes and their length in bits; NULL for AF_UNSPEC. */
static const uint8_t *host_bytes(const struct address *address, unsigned int *bits)
{
	switch (address->any.sa_family) {
	case AF_INET:
		*bits = 32;
		return (const uint8_t *)&address->v4.sin_addr;
	case AF_INET6:
		*bits = 128;
		return address->v6.sin6_addr.s6_addr;
	default:
		*bits = 0;
		return NULL;
	}
}

static bool host_bits_set(const struct address_prefix *prefix)
{
	unsigned int bits;
	const uint8_t *bytes = host_bytes(&prefix->base, &bits);

	for (unsigned int bit = prefix->bits; bit < bits; bit++) {
		if (bytes[bit / 8] & 0x80 >> bit % 8)
			return true;
	}
	return false;
}

static void unmap_prefix(struct address_prefix *prefix)
{
	if (prefix->base.any.sa_family != AF_INET6 || prefix->bits < MAPPED_PREFIX_BITS)
		return;
	unmap(&prefix->base);
	if (prefix->base.any.sa_family == AF_INET)
		prefix->bits = (uint8_t)(prefix->bits - MAPPED_PREFIX_BITS);
}

int address_prefix_parse(const char *text, struct address_prefix *prefix)
{
	char host[ADDRESS_TEXT_SIZE];
	const char *slash = strchr(text, '/');
	size_t size = slash ? (size_t)(slash - text) : strlen(text);
	struct address_prefix parsed;
	unsigned int bits;
	unsigned int given;

	if (size >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, size);
	host[size] = '\0';
	if (parse_plain_host(host, 0, &parsed.base) < 0)
		return -EINVAL;
	host_bytes(&parsed.base, &bits);
	given = bits;
	if (slash && parse_number(slash + 1, bits, &given) < 0)
		return -EINVAL;
	parsed.bits = (uint8_t)given;
	if (host_bits_set(&parsed))
		return -EINVAL;
	unmap_prefix(&parsed);
	*prefix = parsed;
	return 0;
}

static void print_scope(uint32_t scope, char *text, size_t size)
{
	char name[IF_NAMESIZE];

	if (scope == 0)
		return;
	if (if_indextoname(scope, name))
		snprintf(text, size, "%%%s", name);
	else
		snprintf(text, size, "%%%u", scope);
}

const char *address_print_host(const struct address *address, char *text)
{
	size_t used;

	switch (address->any.sa_family) {
	case AF_INET:
		inet_ntop(AF_INET, &address->v4.sin_addr, text, ADDRESS_TEXT_SIZE);
		break;
	case AF_INET6:
		inet_ntop(AF_INET6, &address->v6.sin6_addr, text, ADDRESS_TEXT_SIZE);
		used = strlen(text);
		print_scope(address->v6.sin6_scope_id, text + used, ADDRESS_TEXT_SIZE - used);
		break;
	default:
		snprintf(text, ADDRESS_TEXT_SIZE, "-");
		break;
	}
	return text;
}

const char *address_print(const struct address *address, char *text)
{
	/* Longest: 45 of an IPv6 address, '%' and 15 of an interface name. */
	char host[ADDRESS_TEXT_SIZE];

	address_print_host(address, host);
	switch (address->any.sa_family) {
	case AF_INET:
		snprintf(text, ADDRESS_TEXT_SIZE, "%.15s:%u", host, address_port(address));
		break;
	case AF_INET6:
		snprintf(text, ADDRESS_TEXT_SIZE, "[%.61s]:%u", host, address_port(address));
		break;
	default:
		snprintf(text, ADDRESS_TEXT_SIZE, "%s", host);
		break;
	}
	return text;
}

socklen_t address_size(const struct address *address)
{
	switch (address->any.sa_family) {
	case AF_INET:
		return sizeof(address->v4);
	case AF_INET6:
		return sizeof(address->v6);
	default:
		return 0;
	}
}

uint16_t address_port(const struct address *address)
{
	switch (address->any.sa_family) {
	case AF_INET:
		return ntohs(address->v4.sin_port);
	case AF_INET6:
		return ntohs(address->v6.sin6_port);
	default:
		return 0;
	}
}

void address_set_port(struct address *address, uint16_t port)
{
	if (address->any.sa_family == AF_INET)
		address->v4.sin_port = htons(port);
	else if (address->any.sa_family == AF_INET6)
		address->v6.sin6_port = htons(port);
}

bool address_same_host(const struct address *a, const struct address *b)
{
	struct address left = *a;
	struct address right = *b;
	unsigned int bits;
	const uint8_t *bytes;

	unmap(&left);
	unmap(&right);
	if (left.any.sa_family != right.any.sa_family)
		return false;
	if (left.any.sa_family == AF_INET6 && left.v6.sin6_scope_id != right.v6.sin6_scope_id)
		return false;
	bytes = host_bytes(&left, &bits);
	return !bytes || memcmp(bytes, host_bytes(&right, &bits), bits / 8) == 0;
}

bool address_equal(const struct address *a, const struct address *b)
{
	return address_same_host(a, b) && address_port(a) == address_port(b);
}

bool address_in_prefix(const struct address *address, const struct address_prefix *prefix)
{
	struct address plain = *address;
	unsigned int bits;
	const uint8_t *bytes;
	const uint8_t *base;
	unsigned int rest;

	unmap(&plain);
	if (plain.any.sa_family != prefix->base.any.sa_family)
		return false;
	bytes = host_bytes(&plain, &bits);
	base = host_bytes(&prefix->base, &bits);
	if (!bytes || memcmp(bytes, base, prefix->bits / 8) != 0)
		return false;
	rest = prefix->bits % 8;
	return rest == 0 || (bytes[prefix->bits / 8] ^ base[prefix->bits / 8]) >> (8 - rest) == 0;
}

void address_from_sockaddr(const struct sockaddr_storage *from, struct address *address)
{
	memset(address, 0, sizeof(*address));
	if (from->ss_family == AF_INET)
		memcpy(&address->v4, from, sizeof(address->v4));
	else if (from->ss_family == AF_INET6)
		memcpy(&address->v6, from, sizeof(address->v6));
	unmap(address);
}
