/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a set can hold: for each type its name and number in nft (the kernel only stores the
 * number, nft needs it to print the set: include/datatype.h of nftables) and the bytes of a key.
 *
 * Addresses and ports are in network byte order, users and control groups in the host's, names of
 * interfaces padded with zeros. Fields of a concatenation are padded to four bytes each.
 */
#ifndef MCSEAL_NFT_SET_TYPE_H
#define MCSEAL_NFT_SET_TYPE_H

#include "ruleset.h"

#include <jansson.h>
#include <stdio.h>

struct set_type {
	const char *name;       /* as nft writes it */
	const char *json[2];    /* the same, field by field */
	uint32_t number;        /* NFTA_SET_KEY_TYPE */
	uint32_t size;          /* of the key, padding included */
	uint8_t field_sizes[2]; /* of a concatenation, without padding; else 0 */
	bool host_order;        /* a number, which nft must be told */
	bool interval;          /* elements are ranges */
	/* One field, from first to last, as nft lists it. `field` counts from 0. */
	void (*print)(const uint8_t *first, const uint8_t *last, size_t field, FILE *file);
	json_t *(*make_json)(const uint8_t *first, const uint8_t *last, size_t field);
};

extern const struct set_type set_type_ipv4_port; /* ipv4_addr . inet_service, ranges */
extern const struct set_type set_type_ipv6_port;
extern const struct set_type set_type_ipv4_port_single; /* the same, one by one */
extern const struct set_type set_type_ipv6_port_single;
extern const struct set_type set_type_ipv4; /* ranges */
extern const struct set_type set_type_ipv6;
extern const struct set_type set_type_ipv4_single; /* one by one */
extern const struct set_type set_type_ipv6_single;
extern const struct set_type set_type_port;
extern const struct set_type set_type_user;
extern const struct set_type set_type_interface;
extern const struct set_type set_type_cgroup;

/* By NFTA_SET_KEY_TYPE and whether its elements are ranges; NULL: none of these. */
const struct set_type *set_type_find(uint32_t number, bool interval);
/* Of an address with or without a port: which set it can be in. */
const struct set_type *set_type_for(int family, bool with_port, bool interval);

/* A range of addresses, 4 or 16 bytes each: one, a prefix if it is one and `prefixes`, or a-b. */
void set_type_print_addresses(int family, const uint8_t *first, const uint8_t *last, bool prefixes,
			      FILE *file);
json_t *set_type_addresses_json(int family, const uint8_t *first, const uint8_t *last,
				bool prefixes);

/* As nft lists it, without the comment. */
void element_print(const struct set_type *type, const struct element *element, FILE *file);
/* As `nft -j` lists it, with the comment. NULL: no memory. */
json_t *element_json(const struct set_type *type, const struct element *element);

#endif
