/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How it works
 *
 * Comments are user data, type-length-value with a type of its own for each kind of object; the
 * kernel keeps them unread. Nothing else goes there but the byte order of a set's keys: richer
 * user data of one nft version has crashed another one.
 *
 * A plain set of ranges is a row of borders: an element where a range begins, and one with the
 * flag INTERVAL_END where the next address is outside again (none behind the very last address).
 * nft also puts such an end at 0, unless a range begins there. A concatenation has ranges of its
 * own kind: key and key_end, both inside; without ranges it is a key like any other.
 */
#include "object.h"

#include "expression.h"
#include "set_type.h"

#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <string.h>

#define UDATA_SIZE 256 /* NFT_USERDATA_MAXLEN */

#define HOST_ORDER 1 /* enum byteorder of nftables' include/datatype.h */

/* *buffer with the comment, NULL without one. */
static bool make_userdata(struct nftnl_udata_buf **buffer, uint8_t type, const char *comment)
{
	*buffer = NULL;
	if (comment == NULL || comment[0] == '\0')
		return true;
	*buffer = nftnl_udata_buf_alloc(UDATA_SIZE);
	return *buffer != NULL && nftnl_udata_put_strz(*buffer, type, comment);
}

static void free_userdata(struct nftnl_udata_buf *buffer)
{
	if (buffer != NULL)
		nftnl_udata_buf_free(buffer);
}

const char *object_comment(const void *userdata, uint32_t size, uint8_t type)
{
	const uint8_t *bytes = userdata;

	for (uint32_t at = 0; userdata != NULL && at + 2 <= size; at += 2U + bytes[at + 1]) {
		uint32_t length = bytes[at + 1];

		if (at + 2 + length > size)
			break;
		if (bytes[at] == type && length > 0 && bytes[at + 1 + length] == '\0')
			return (const char *)&bytes[at + 2];
	}
	return NULL;
}

struct nftnl_table *object_table(const struct table *table)
{
	struct nftnl_table *made = nftnl_table_alloc();
	struct nftnl_udata_buf *userdata;
	bool done = false;

	if (made == NULL)
		return NULL;
	nftnl_table_set_u32(made, NFTNL_TABLE_FAMILY, NFPROTO_INET);
	nftnl_table_set_u32(made, NFTNL_TABLE_FLAGS, 0);
	if (make_userdata(&userdata, NFTNL_UDATA_TABLE_COMMENT, table->comment))
		done = nftnl_table_set_str(made, NFTNL_TABLE_NAME, table->name) == 0;
	if (done && userdata != NULL)
		done = nftnl_table_set_data(made, NFTNL_TABLE_USERDATA,
					    nftnl_udata_buf_data(userdata),
					    nftnl_udata_buf_len(userdata)) == 0;
	free_userdata(userdata);
	if (!done) {
		nftnl_table_free(made);
		return NULL;
	}
	return made;
}

struct nftnl_chain *object_chain(const struct table *table, const struct chain *chain)
{
	struct nftnl_chain *made = nftnl_chain_alloc();
	bool done;

	if (made == NULL)
		return NULL;
	nftnl_chain_set_u32(made, NFTNL_CHAIN_FAMILY, NFPROTO_INET);
	done = nftnl_chain_set_str(made, NFTNL_CHAIN_TABLE, table->name) == 0 &&
	       nftnl_chain_set_str(made, NFTNL_CHAIN_NAME, chain->name) == 0;
	if (chain->hook != NULL) {
		done = done && nftnl_chain_set_str(made, NFTNL_CHAIN_TYPE, chain->hook->type) == 0;
		nftnl_chain_set_u32(made, NFTNL_CHAIN_HOOKNUM, chain->hook->number);
		nftnl_chain_set_s32(made, NFTNL_CHAIN_PRIO, chain->hook->priority);
		nftnl_chain_set_u32(made, NFTNL_CHAIN_POLICY, NF_ACCEPT);
	}
	if (!done) {
		nftnl_chain_free(made);
		return NULL;
	}
	return made;
}

/* --- sets ------------------------------------------------------------------------------- */

static struct nftnl_set_elem *add_key(struct nftnl_set *set, const uint8_t *key, uint32_t size,
				      uint32_t flags)
{
	struct nftnl_set_elem *element = nftnl_set_elem_alloc();

	if (element == NULL)
		return NULL;
	if (nftnl_set_elem_set(element, NFTNL_SET_ELEM_KEY, key, size) < 0) {
		nftnl_set_elem_free(element);
		return NULL;
	}
	if (flags != 0)
		nftnl_set_elem_set_u32(element, NFTNL_SET_ELEM_FLAGS, flags);
	nftnl_set_elem_add(set, element);
	return element;
}

static bool add_comment(struct nftnl_set_elem *element, const char *comment)
{
	struct nftnl_udata_buf *userdata;
	bool done = make_userdata(&userdata, NFTNL_UDATA_SET_ELEM_COMMENT, comment);

	if (done && userdata != NULL)
		done = nftnl_set_elem_set(element, NFTNL_SET_ELEM_USERDATA,
					  nftnl_udata_buf_data(userdata),
					  nftnl_udata_buf_len(userdata)) == 0;
	free_userdata(userdata);
	return done;
}

/* The next address in network byte order; false: there is none. */
static bool increment(uint8_t *key, uint32_t size)
{
	for (uint32_t i = size; i-- > 0;) {
		if (++key[i] != 0)
			return true;
	}
	return false;
}

static bool add_range(struct nftnl_set *made, const struct set *set, size_t at)
{
	static const uint8_t zero[ELEMENT_KEY_MAX];
	const struct element *element = &set->elements[at];
	uint32_t size = set->type->size;
	struct nftnl_set_elem *start;
	uint8_t end[ELEMENT_KEY_MAX];

	if (at == 0 && memcmp(element->first, zero, size) != 0 &&
	    add_key(made, zero, size, NFT_SET_ELEM_INTERVAL_END) == NULL)
		return false;
	start = add_key(made, element->first, size, 0);
	if (start == NULL || !add_comment(start, element->comment))
		return false;
	memcpy(end, element->last, size);
	return !increment(end, size) || add_key(made, end, size, NFT_SET_ELEM_INTERVAL_END) != NULL;
}

static bool add_element(struct nftnl_set *made, const struct set *set, size_t at)
{
	const struct element *element = &set->elements[at];
	struct nftnl_set_elem *key;

	if (set->type->interval && set->type->field_sizes[0] == 0)
		return add_range(made, set, at);
	key = add_key(made, element->first, set->type->size, 0);
	if (key == NULL || !add_comment(key, element->comment))
		return false;
	return !set->type->interval ||
	       nftnl_set_elem_set(key, NFTNL_SET_ELEM_KEY_END, element->last, set->type->size) == 0;
}

static bool describe_set(struct nftnl_set *made, const struct table *table, const struct set *set,
			 uint32_t number)
{
	const struct set_type *type = set->type;
	bool concatenated = type->field_sizes[0] != 0 && type->interval;
	uint32_t flags = (type->interval ? (uint32_t)NFT_SET_INTERVAL : 0U) |
			 (concatenated ? (uint32_t)NFT_SET_CONCAT : 0U);

	nftnl_set_set_u32(made, NFTNL_SET_FAMILY, NFPROTO_INET);
	nftnl_set_set_u32(made, NFTNL_SET_ID, number);
	nftnl_set_set_u32(made, NFTNL_SET_KEY_TYPE, type->number);
	nftnl_set_set_u32(made, NFTNL_SET_KEY_LEN, type->size);
	nftnl_set_set_u32(made, NFTNL_SET_FLAGS, flags);
	if (concatenated && nftnl_set_set_data(made, NFTNL_SET_DESC_CONCAT, type->field_sizes,
					       sizeof(type->field_sizes)) < 0)
		return false;
	return nftnl_set_set_str(made, NFTNL_SET_TABLE, table->name) == 0 &&
	       nftnl_set_set_str(made, NFTNL_SET_NAME, set->name) == 0;
}

struct nftnl_set *object_set(const struct table *table, const struct set *set, uint32_t number)
{
	struct nftnl_set *made = nftnl_set_alloc();
	struct nftnl_udata_buf *userdata;
	bool done;

	if (made == NULL)
		return NULL;
	done = make_userdata(&userdata, NFTNL_UDATA_SET_COMMENT, set->comment) &&
	       describe_set(made, table, set, number);
	/* Without it nft lists users and control groups with their bytes the other way round. */
	if (done && set->type->host_order)
		done = userdata != NULL &&
		       nftnl_udata_put_u32(userdata, NFTNL_UDATA_SET_KEYBYTEORDER, HOST_ORDER);
	if (done && userdata != NULL)
		done = nftnl_set_set_data(made, NFTNL_SET_USERDATA, nftnl_udata_buf_data(userdata),
					  nftnl_udata_buf_len(userdata)) == 0;
	free_userdata(userdata);
	for (size_t i = 0; i < set->element_count && done; i++)
		done = add_element(made, set, i);
	if (!done) {
		nftnl_set_free(made);
		return NULL;
	}
	return made;
}

/* --- rules ------------------------------------------------------------------------------ */

struct nftnl_rule *object_rule(const struct table *table, const struct chain *chain,
			       const struct rule *rule)
{
	struct nftnl_rule *made = nftnl_rule_alloc();
	struct nftnl_udata_buf *userdata;
	bool done;

	if (made == NULL)
		return NULL;
	nftnl_rule_set_u32(made, NFTNL_RULE_FAMILY, NFPROTO_INET);
	done = make_userdata(&userdata, NFTNL_UDATA_RULE_COMMENT, rule->comment) &&
	       nftnl_rule_set_str(made, NFTNL_RULE_TABLE, table->name) == 0 &&
	       nftnl_rule_set_str(made, NFTNL_RULE_CHAIN, chain->name) == 0;
	if (done && userdata != NULL)
		done = nftnl_rule_set_data(made, NFTNL_RULE_USERDATA,
					   nftnl_udata_buf_data(userdata),
					   nftnl_udata_buf_len(userdata)) == 0;
	free_userdata(userdata);
	if (!done || expression_add(made, rule) < 0) {
		nftnl_rule_free(made);
		return NULL;
	}
	return made;
}
