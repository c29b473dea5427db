/* SPDX-License-Identifier: Apache-2.0 */
/* The option types that are addresses. */
#include "base/error.h"
#include "config/config.h"
#include "config/config_value.h"

#include <errno.h>
#include <string.h>

static int read_address(const struct config_place *place, const char *text, void *value)
{
	struct address address;

	(void)place;
	if (address_parse(text, &address) < 0 || address_port(&address) == 0)
		return -EINVAL;
	memcpy(value, &address, sizeof(address));
	return 0;
}

static void print_address(const struct config_option *option, const void *value, FILE *file)
{
	char text[ADDRESS_TEXT_SIZE];
	struct address address;

	(void)option;
	memcpy(&address, value, sizeof(address));
	fprintf(file, "\"%s\"", address_print(&address, text));
}

static bool has_address(const void *value)
{
	struct address address;

	memcpy(&address, value, sizeof(address));
	return address.any.sa_family != AF_UNSPEC;
}

const struct config_type config_type_address = {
	.expected = "a numeric address and a port from 1 to 65535, like 10.20.0.2:8443 or "
		    "[fd20::2]:8443 (names are not looked up)",
	.size = sizeof(struct address),
	.read = read_address,
	.print = print_address,
	.present = has_address,
};

static int read_host(const struct config_place *place, const char *text, void *value)
{
	struct address address;

	(void)place;
	if (address_parse_host(text, 0, &address) < 0)
		return -EINVAL;
	memcpy(value, &address, sizeof(address));
	return 0;
}

static void print_host(const struct config_option *option, const void *value, FILE *file)
{
	char text[ADDRESS_TEXT_SIZE];
	struct address address;

	(void)option;
	memcpy(&address, value, sizeof(address));
	fprintf(file, "\"%s\"", address_print_host(&address, text));
}

const struct config_type config_type_host = {
	.expected = "a numeric address without a port, like 10.30.0.10 or fd30::10 (names are not "
		    "looked up)",
	.size = sizeof(struct address),
	.read = read_host,
	.print = print_host,
	.present = has_address,
};

static int read_prefix(const struct config_place *place, const char *text, void *value)
{
	struct address_prefix prefix;

	(void)place;
	if (address_prefix_parse(text, &prefix) < 0)
		return -EINVAL;
	memcpy(value, &prefix, sizeof(prefix));
	return 0;
}

static void print_prefix_bare(const struct address_prefix *prefix, FILE *file)
{
	char text[ADDRESS_TEXT_SIZE];

	fprintf(file, "%s/%u", address_print_host(&prefix->base, text), prefix->bits);
}

static void print_prefix(const struct config_option *option, const void *value, FILE *file)
{
	struct address_prefix prefix;

	(void)option;
	memcpy(&prefix, value, sizeof(prefix));
	fputc('"', file);
	print_prefix_bare(&prefix, file);
	fputc('"', file);
}

const struct config_type config_type_prefix = {
	.expected = "an address or a block without host bits, like 10.10.0.0/24 or fd10::/64",
	.size = sizeof(struct address_prefix),
	.read = read_prefix,
	.print = print_prefix,
};

static int parse_port(const char *text, size_t size, uint16_t *port)
{
	unsigned int number = 0;

	if (size == 0 || size > 5)
		return -EINVAL;
	for (size_t i = 0; i < size; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -EINVAL;
		number = number * 10 + (unsigned int)(text[i] - '0');
	}
	if (number == 0 || number > UINT16_MAX)
		return -EINVAL;
	*port = (uint16_t)number;
	return 0;
}

static int parse_port_range(const char *text, uint16_t *first, uint16_t *last)
{
	size_t size = strcspn(text, "-");

	if (parse_port(text, size, first) < 0)
		return -EINVAL;
	*last = *first;
	if (text[size] == '-' && parse_port(text + size + 1, strlen(text + size + 1), last) < 0)
		return -EINVAL;
	return *first <= *last ? 0 : -EINVAL;
}

/* "10.30.0.0/24:5000-5010", "[fd30::/64]:5007" */
static int read_destination(const struct config_place *place, const char *text, void *value)
{
	struct config_destination destination;
	char block[ADDRESS_TEXT_SIZE];
	const char *colon = strrchr(text, ':');
	bool bracketed = text[0] == '[';
	size_t size = colon ? (size_t)(colon - text) : 0;

	(void)place;
	if (size == 0 || size >= sizeof(block) || (bracketed && text[size - 1] != ']'))
		return -EINVAL;
	if (bracketed) {
		text++;
		size -= 2;
	}
	memcpy(block, text, size);
	block[size] = '\0';
	if (bracketed != (strchr(block, ':') != NULL) ||
	    address_prefix_parse(block, &destination.addresses) < 0 ||
	    parse_port_range(colon + 1, &destination.first_port, &destination.last_port) < 0)
		return -EINVAL;
	memcpy(value, &destination, sizeof(destination));
	return 0;
}

static void print_destination(const struct config_option *option, const void *value, FILE *file)
{
	struct config_destination destination;
	bool bracketed;

	(void)option;
	memcpy(&destination, value, sizeof(destination));
	bracketed = destination.addresses.base.any.sa_family == AF_INET6;
	fputs(bracketed ? "\"[" : "\"", file);
	print_prefix_bare(&destination.addresses, file);
	fputs(bracketed ? "]:" : ":", file);
	fprintf(file, "%u", destination.first_port);
	if (destination.last_port != destination.first_port)
		fprintf(file, "-%u", destination.last_port);
	fputc('"', file);
}

const struct config_type config_type_destination = {
	.expected = "addresses and ports like 10.30.0.10:5007, 10.30.0.0/24:5000-5010 or "
		    "[fd30::/64]:5007 (a block without host bits)",
	.size = sizeof(struct config_destination),
	.read = read_destination,
	.print = print_destination,
};
