/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "set_type.h"

#include "base/error.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <net/if.h>
#include <string.h>

/* --- addresses -------------------------------------------------------------------------- */

/* The length of the prefix that covers exactly first..last; -1: none does. */
static int prefix_length(const uint8_t *first, const uint8_t *last, size_t size)
{
	size_t bits = size * 8;
	size_t at = 0;

	while (at < bits && ((first[at / 8] ^ last[at / 8]) & (0x80 >> at % 8)) == 0)
		at++;
	for (size_t i = at; i < bits; i++) {
		if ((first[i / 8] & (0x80 >> i % 8)) != 0 || (last[i / 8] & (0x80 >> i % 8)) == 0)
			return -1;
	}
	return (int)at;
}

void set_type_print_addresses(int family, const uint8_t *first, const uint8_t *last, bool prefixes,
			      FILE *file)
{
	size_t size = family == AF_INET ? 4 : 16;
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
	int length = prefix_length(first, last, size);

	inet_ntop(family, first, from, sizeof(from));
	inet_ntop(family, last, to, sizeof(to));
	if (memcmp(first, last, size) == 0)
		fputs(from, file);
	else if (prefixes && length >= 0)
		fprintf(file, "%s/%d", from, length);
	else
		fprintf(file, "%s-%s", from, to);
}

json_t *set_type_addresses_json(int family, const uint8_t *first, const uint8_t *last,
				bool prefixes)
{
	size_t size = family == AF_INET ? 4 : 16;
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
	int length = prefix_length(first, last, size);

	inet_ntop(family, first, from, sizeof(from));
	inet_ntop(family, last, to, sizeof(to));
	if (memcmp(first, last, size) == 0)
		return json_string(from);
	if (prefixes && length >= 0)
		return json_pack("{s:{s:s, s:i}}", "prefix", "addr", from, "len", length);
	return json_pack("{s:[s, s]}", "range", from, to);
}

/* --- ports, users, interfaces, control groups ------------------------------------------- */

static unsigned int get_port(const uint8_t *key)
{
	return (unsigned int)key[0] << 8 | key[1];
}

static void print_port(const uint8_t *first, const uint8_t *last, size_t field, FILE *file)
{
	(void)field;
	fprintf(file, "%u", get_port(first));
	if (get_port(first) != get_port(last))
		fprintf(file, "-%u", get_port(last));
}

static json_t *port_json(const uint8_t *first, const uint8_t *last, size_t field)
{
	(void)field;
	if (get_port(first) == get_port(last))
		return json_integer(get_port(first));
	return json_pack("{s:[i, i]}", "range", (int)get_port(first), (int)get_port(last));
}

static void print_user(const uint8_t *first, const uint8_t *last, size_t field, FILE *file)
{
	uint32_t user;

	(void)last;
	(void)field;
	memcpy(&user, first, sizeof(user));
	fprintf(file, "%" PRIu32, user);
}

static json_t *user_json(const uint8_t *first, const uint8_t *last, size_t field)
{
	uint32_t user;

	(void)last;
	(void)field;
	memcpy(&user, first, sizeof(user));
	return json_integer(user);
}

static void print_interface(const uint8_t *first, const uint8_t *last, size_t field, FILE *file)
{
	(void)last;
	(void)field;
	fprintf(file, "\"%.*s\"", IFNAMSIZ, (const char *)first);
}

static json_t *interface_json(const uint8_t *first, const uint8_t *last, size_t field)
{
	(void)last;
	(void)field;
	return json_string((const char *)first);
}

/* Only of what is in the kernel: ours have their path as label. */
static void print_cgroup(const uint8_t *first, const uint8_t *last, size_t field, FILE *file)
{
	uint64_t id;

	(void)last;
	(void)field;
	memcpy(&id, first, sizeof(id));
	fprintf(file, "%" PRIu64, id);
}

static json_t *cgroup_json(const uint8_t *first, const uint8_t *last, size_t field)
{
	uint64_t id;

	(void)last;
	(void)field;
	memcpy(&id, first, sizeof(id));
	return json_integer((json_int_t)id);
}

/* --- the types -------------------------------------------------------------------------- */

static void print_ipv4(const uint8_t *first, const uint8_t *last, size_t field, FILE *file)
{
	if (field == 0)
		set_type_print_addresses(AF_INET, first, last, true, file);
	else
		print_port(first, last, field, file);
}

static json_t *ipv4_json(const uint8_t *first, const uint8_t *last, size_t field)
{
	return field == 0 ? set_type_addresses_json(AF_INET, first, last, true)
			  : port_json(first, last, field);
}

static void print_ipv6(const uint8_t *first, const uint8_t *last, size_t field, FILE *file)
{
	if (field == 0)
		set_type_print_addresses(AF_INET6, first, last, true, file);
	else
		print_port(first, last, field, file);
}

static json_t *ipv6_json(const uint8_t *first, const uint8_t *last, size_t field)
{
	return field == 0 ? set_type_addresses_json(AF_INET6, first, last, true)
			  : port_json(first, last, field);
}

/* enum datatypes and TYPE_BITS of nftables' include/datatype.h. */
enum {
	TYPE_BITS = 6,
	TYPE_IPADDR = 7,
	TYPE_IP6ADDR = 8,
	TYPE_INET_SERVICE = 13,
	TYPE_UID = 24,
	TYPE_IFNAME = 41,
	TYPE_CGROUPV2 = 46,
};

const struct set_type set_type_ipv4_port = {
	.name = "ipv4_addr . inet_service",
	.json = {"ipv4_addr", "inet_service"},
	.number = TYPE_IPADDR << TYPE_BITS | TYPE_INET_SERVICE,
	.size = 8,
	.field_sizes = {4, 2},
	.interval = true,
	.print = print_ipv4,
	.make_json = ipv4_json,
};

const struct set_type set_type_ipv4_port_single = {
	.name = "ipv4_addr . inet_service",
	.json = {"ipv4_addr", "inet_service"},
	.number = TYPE_IPADDR << TYPE_BITS | TYPE_INET_SERVICE,
	.size = 8,
	.field_sizes = {4, 2},
	.print = print_ipv4,
	.make_json = ipv4_json,
};

const struct set_type set_type_ipv6_port = {
	.name = "ipv6_addr . inet_service",
	.json = {"ipv6_addr", "inet_service"},
	.number = TYPE_IP6ADDR << TYPE_BITS | TYPE_INET_SERVICE,
	.size = 20,
	.field_sizes = {16, 2},
	.interval = true,
	.print = print_ipv6,
	.make_json = ipv6_json,
};

const struct set_type set_type_ipv6_port_single = {
	.name = "ipv6_addr . inet_service",
	.json = {"ipv6_addr", "inet_service"},
	.number = TYPE_IP6ADDR << TYPE_BITS | TYPE_INET_SERVICE,
	.size = 20,
	.field_sizes = {16, 2},
	.print = print_ipv6,
	.make_json = ipv6_json,
};

const struct set_type set_type_ipv4 = {
	.name = "ipv4_addr",
	.json = {"ipv4_addr"},
	.number = TYPE_IPADDR,
	.size = 4,
	.interval = true,
	.print = print_ipv4,
	.make_json = ipv4_json,
};

const struct set_type set_type_ipv4_single = {
	.name = "ipv4_addr",
	.json = {"ipv4_addr"},
	.number = TYPE_IPADDR,
	.size = 4,
	.print = print_ipv4,
	.make_json = ipv4_json,
};

const struct set_type set_type_ipv6 = {
	.name = "ipv6_addr",
	.json = {"ipv6_addr"},
	.number = TYPE_IP6ADDR,
	.size = 16,
	.interval = true,
	.print = print_ipv6,
	.make_json = ipv6_json,
};

const struct set_type set_type_ipv6_single = {
	.name = "ipv6_addr",
	.json = {"ipv6_addr"},
	.number = TYPE_IP6ADDR,
	.size = 16,
	.print = print_ipv6,
	.make_json = ipv6_json,
};

const struct set_type set_type_port = {
	.name = "inet_service",
	.json = {"inet_service"},
	.number = TYPE_INET_SERVICE,
	.size = 2,
	.print = print_port,
	.make_json = port_json,
};

const struct set_type set_type_user = {
	.name = "uid",
	.json = {"uid"},
	.number = TYPE_UID,
	.host_order = true,
	.size = 4,
	.print = print_user,
	.make_json = user_json,
};

const struct set_type set_type_interface = {
	.name = "ifname",
	.json = {"ifname"},
	.number = TYPE_IFNAME,
	.host_order = true,
	.size = IFNAMSIZ,
	.print = print_interface,
	.make_json = interface_json,
};

const struct set_type set_type_cgroup = {
	.name = "cgroupsv2",
	.json = {"cgroupsv2"},
	.number = TYPE_CGROUPV2,
	.host_order = true,
	.size = 8,
	.print = print_cgroup,
	.make_json = cgroup_json,
};

static const struct set_type *const types[] = {
	&set_type_ipv4_port,
	&set_type_ipv6_port,
	&set_type_ipv4_port_single,
	&set_type_ipv6_port_single,
	&set_type_ipv4,
	&set_type_ipv6,
	&set_type_ipv4_single,
	&set_type_ipv6_single,
	&set_type_port,
	&set_type_user,
	&set_type_interface,
	&set_type_cgroup,
};

const struct set_type *set_type_find(uint32_t number, bool interval)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (types[i]->number == number && types[i]->interval == interval)
			return types[i];
	}
	return NULL;
}

const struct set_type *set_type_for(int family, bool with_port, bool interval)
{
	if (with_port && interval)
		return family == AF_INET ? &set_type_ipv4_port : &set_type_ipv6_port;
	if (with_port)
		return family == AF_INET ? &set_type_ipv4_port_single : &set_type_ipv6_port_single;
	if (interval)
		return family == AF_INET ? &set_type_ipv4 : &set_type_ipv6;
	return family == AF_INET ? &set_type_ipv4_single : &set_type_ipv6_single;
}

/* Where the second field of a concatenation begins; 0: there is none. */
static size_t second_field(const struct set_type *type)
{
	return (size_t)(type->field_sizes[0] + 3) / 4 * 4;
}

void element_print(const struct set_type *type, const struct element *element, FILE *file)
{
	size_t second = second_field(type);

	if (element->label != NULL) {
		fprintf(file, "\"%s\"", element->label);
		return;
	}
	type->print(element->first, element->last, 0, file);
	if (second == 0)
		return;
	fputs(" . ", file);
	type->print(element->first + second, element->last + second, 1, file);
}

json_t *element_json(const struct set_type *type, const struct element *element)
{
	size_t second = second_field(type);
	json_t *value;

	if (element->label != NULL)
		value = json_string(element->label);
	else if (second == 0)
		value = type->make_json(element->first, element->last, 0);
	else
		value = json_pack(
			"{s:[o, o]}", "concat", type->make_json(element->first, element->last, 0),
			type->make_json(element->first + second, element->last + second, 1));
	if (element->comment == NULL)
		return value;
	return json_pack("{s:{s:o, s:s}}", "elem", "val", value, "comment", element->comment);
}
