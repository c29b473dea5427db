/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How it works
 *
 * Table, chains, sets, elements and rules are questions of their own, and the ruleset may change
 * between two answers, or within one (NLM_F_DUMP_INTR). So the number of the generation is asked
 * before and after, and all is thrown away when it has moved.
 */
#include "live.h"

#include "object.h"
#include "set_type.h"

#include "base/error.h"

#include <errno.h>
#include <libnftnl/common.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdlib.h>
#include <string.h>

#define ATTEMPTS 20

/* Lists of pointers of any kind, seen as one kind. */
typedef void *__attribute__((may_alias)) item_t;
typedef item_t *__attribute__((may_alias)) items_t;

/* What an answer is added to. */
struct collection {
	items_t *items;
	size_t *count;
};

static int append(const struct collection *collection, void *item)
{
	size_t count = *collection->count;
	items_t items = *collection->items;

	if ((count & (count - 1)) == 0) {
		items = reallocarray(items, count == 0 ? 1 : count * 2, sizeof(*items));
		if (items == NULL)
			return -ENOMEM;
		*collection->items = items;
	}
	items[(*collection->count)++] = item;
	return 0;
}

static int take_chain(const struct nlmsghdr *message, void *data)
{
	struct nftnl_chain *chain = nftnl_chain_alloc();

	if (chain == NULL || nftnl_chain_nlmsg_parse(message, chain) < 0 ||
	    append(data, chain) < 0) {
		if (chain != NULL)
			nftnl_chain_free(chain);
		return MNL_CB_ERROR;
	}
	return MNL_CB_OK;
}

static int take_set(const struct nlmsghdr *message, void *data)
{
	struct nftnl_set *set = nftnl_set_alloc();

	if (set == NULL || nftnl_set_nlmsg_parse(message, set) < 0 || append(data, set) < 0) {
		if (set != NULL)
			nftnl_set_free(set);
		return MNL_CB_ERROR;
	}
	return MNL_CB_OK;
}

static int take_rule(const struct nlmsghdr *message, void *data)
{
	struct nftnl_rule *rule = nftnl_rule_alloc();

	if (rule == NULL || nftnl_rule_nlmsg_parse(message, rule) < 0 || append(data, rule) < 0) {
		if (rule != NULL)
			nftnl_rule_free(rule);
		return MNL_CB_ERROR;
	}
	return MNL_CB_OK;
}

static int take_object(const struct nlmsghdr *message, void *data)
{
	struct nftnl_obj *object = nftnl_obj_alloc();

	if (object == NULL || nftnl_obj_nlmsg_parse(message, object) < 0 ||
	    append(data, object) < 0) {
		if (object != NULL)
			nftnl_obj_free(object);
		return MNL_CB_ERROR;
	}
	return MNL_CB_OK;
}

static int take_flowtable(const struct nlmsghdr *message, void *data)
{
	struct nftnl_flowtable *flowtable = nftnl_flowtable_alloc();

	if (flowtable == NULL || nftnl_flowtable_nlmsg_parse(message, flowtable) < 0 ||
	    append(data, flowtable) < 0) {
		if (flowtable != NULL)
			nftnl_flowtable_free(flowtable);
		return MNL_CB_ERROR;
	}
	return MNL_CB_OK;
}

static int take_elements(const struct nlmsghdr *message, void *data)
{
	return nftnl_set_elems_nlmsg_parse(message, data) < 0 ? MNL_CB_ERROR : MNL_CB_OK;
}

static int take_table(const struct nlmsghdr *message, void *data)
{
	struct live_table *table = data;
	struct nftnl_table *parsed = nftnl_table_alloc();

	if (parsed == NULL || nftnl_table_nlmsg_parse(message, parsed) < 0) {
		if (parsed != NULL)
			nftnl_table_free(parsed);
		return MNL_CB_ERROR;
	}
	table->exists = true;
	table->flags = nftnl_table_get_u32(parsed, NFTNL_TABLE_FLAGS);
	nftnl_table_free(parsed);
	return MNL_CB_OK;
}

/* --- questions -------------------------------------------------------------------------- */

/* All messages of `type` with this table; the attribute of the table's name is 1 everywhere. */
static int dump(struct netlink *netlink, uint16_t type, const char *name, mnl_cb_t callback,
		void *data)
{
	char buffer[MNL_NLMSG_HDRLEN + 1024];
	struct nlmsghdr *message = nftnl_nlmsg_build_hdr(buffer, type, NFPROTO_INET, NLM_F_DUMP, 0);

	_Static_assert(NFTA_CHAIN_TABLE == 1 && NFTA_SET_TABLE == 1 && NFTA_RULE_TABLE == 1 &&
			       NFTA_OBJ_TABLE == 1 && NFTA_FLOWTABLE_TABLE == 1,
		       "the same number for all");
	mnl_attr_put_strz(message, NFTA_CHAIN_TABLE, name);
	return netlink_ask(netlink, message, callback, data);
}

static int read_table(struct netlink *netlink, const char *name, struct live_table *table)
{
	char buffer[MNL_NLMSG_HDRLEN + 1024];
	struct nlmsghdr *message =
		nftnl_nlmsg_build_hdr(buffer, NFT_MSG_GETTABLE, NFPROTO_INET, NLM_F_ACK, 0);
	int error;

	mnl_attr_put_strz(message, NFTA_TABLE_NAME, name);
	error = netlink_ask(netlink, message, take_table, table);
	return error == -ENOENT ? 0 : error;
}

static int read_elements(struct netlink *netlink, struct nftnl_set *set)
{
	char buffer[MNL_NLMSG_HDRLEN + 1024];
	struct nlmsghdr *message =
		nftnl_nlmsg_build_hdr(buffer, NFT_MSG_GETSETELEM, NFPROTO_INET, NLM_F_DUMP, 0);

	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_TABLE,
			  nftnl_set_get_str(set, NFTNL_SET_TABLE));
	mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, nftnl_set_get_str(set, NFTNL_SET_NAME));
	return netlink_ask(netlink, message, take_elements, set);
}

/* Not every kernel minds which table was asked for: what is another's is thrown away here. */
static bool is_of(const char *table, const char *name)
{
	return table != NULL && strcmp(table, name) == 0;
}

static void drop_foreign(struct live_table *table, const char *name)
{
	size_t kept = 0;

	for (size_t i = 0; i < table->chain_count; i++) {
		if (is_of(nftnl_chain_get_str(table->chains[i], NFTNL_CHAIN_TABLE), name))
			table->chains[kept++] = table->chains[i];
		else
			nftnl_chain_free(table->chains[i]);
	}
	table->chain_count = kept;
	kept = 0;
	for (size_t i = 0; i < table->rule_count; i++) {
		if (is_of(nftnl_rule_get_str(table->rules[i], NFTNL_RULE_TABLE), name))
			table->rules[kept++] = table->rules[i];
		else
			nftnl_rule_free(table->rules[i]);
	}
	table->rule_count = kept;
}

static int read_contents(struct netlink *netlink, const char *name, struct live_table *table)
{
	struct collection chains = {(items_t *)&table->chains, &table->chain_count};
	struct collection sets = {(items_t *)&table->sets, &table->set_count};
	struct collection rules = {(items_t *)&table->rules, &table->rule_count};
	struct collection objects = {(items_t *)&table->objects, &table->object_count};
	struct collection flowtables = {(items_t *)&table->flowtables, &table->flowtable_count};
	int error = dump(netlink, NFT_MSG_GETCHAIN, name, take_chain, &chains);

	if (error == 0)
		error = dump(netlink, NFT_MSG_GETSET, name, take_set, &sets);
	if (error == 0)
		error = dump(netlink, NFT_MSG_GETRULE, name, take_rule, &rules);
	if (error == 0)
		error = dump(netlink, NFT_MSG_GETOBJ, name, take_object, &objects);
	if (error == 0)
		error = dump(netlink, NFT_MSG_GETFLOWTABLE, name, take_flowtable, &flowtables);
	for (size_t i = 0; i < table->set_count && error == 0; i++)
		error = read_elements(netlink, table->sets[i]);
	drop_foreign(table, name);
	return error;
}

int live_table_read(struct netlink *netlink, const char *name, struct live_table *table,
		    uint32_t *generation)
{
	uint32_t after;
	int error = -EAGAIN;

	for (int i = 0; i < ATTEMPTS; i++) {
		*table = (struct live_table){0};
		error = netlink_generation(netlink, generation);
		if (error == 0)
			error = read_table(netlink, name, table);
		if (error == 0 && table->exists)
			error = read_contents(netlink, name, table);
		if (error == 0)
			error = netlink_generation(netlink, &after);
		if (error == 0 && after == *generation)
			return 0;
		live_table_deinit(table);
		/* EINTR: changed within an answer; ENOENT: gone between two. */
		if (error != 0 && error != -EINTR && error != -ENOENT)
			return error;
		error = -EAGAIN;
	}
	return error;
}

void live_table_deinit(struct live_table *table)
{
	for (size_t i = 0; i < table->chain_count; i++)
		nftnl_chain_free(table->chains[i]);
	for (size_t i = 0; i < table->set_count; i++)
		nftnl_set_free(table->sets[i]);
	for (size_t i = 0; i < table->rule_count; i++)
		nftnl_rule_free(table->rules[i]);
	for (size_t i = 0; i < table->object_count; i++)
		nftnl_obj_free(table->objects[i]);
	for (size_t i = 0; i < table->flowtable_count; i++)
		nftnl_flowtable_free(table->flowtables[i]);
	free(table->chains);
	free(table->sets);
	free(table->rules);
	free(table->objects);
	free(table->flowtables);
	*table = (struct live_table){0};
}

/* --- elements --------------------------------------------------------------------------- */

/* One border or element of a live set. */
struct border {
	uint8_t first[ELEMENT_KEY_MAX], last[ELEMENT_KEY_MAX];
	const char *comment; /* in the set */
	bool end;
};

struct borders {
	struct border *items;
	size_t count;
	uint32_t size; /* of a key */
};

static int compare_borders(const void *a, const void *b)
{
	const struct border *x = a, *y = b;
	int order = memcmp(x->first, y->first, sizeof(x->first));

	/* Where one range ends and the next begins, the end comes first. */
	return order != 0 ? order : (int)y->end - (int)x->end;
}

static int collect_borders(struct nftnl_set *set, struct borders *borders)
{
	struct nftnl_set_elems_iter *iterator = nftnl_set_elems_iter_create(set);
	struct nftnl_set_elem *element;

	if (iterator == NULL)
		return -ENOMEM;
	while ((element = nftnl_set_elems_iter_next(iterator)) != NULL) {
		struct border *grown =
			reallocarray(borders->items, borders->count + 1, sizeof(*grown));
		struct border *border;
		const void *key, *userdata;
		uint32_t size;

		if (grown == NULL)
			break;
		borders->items = grown;
		border = &grown[borders->count++];
		*border = (struct border){0};
		key = nftnl_set_elem_get(element, NFTNL_SET_ELEM_KEY, &size);
		if (key != NULL && size <= borders->size)
			memcpy(border->first, key, size);
		memcpy(border->last, border->first, sizeof(border->last));
		key = nftnl_set_elem_get(element, NFTNL_SET_ELEM_KEY_END, &size);
		if (key != NULL && size <= borders->size)
			memcpy(border->last, key, size);
		if (nftnl_set_elem_is_set(element, NFTNL_SET_ELEM_FLAGS))
			border->end = nftnl_set_elem_get_u32(element, NFTNL_SET_ELEM_FLAGS) &
				      NFT_SET_ELEM_INTERVAL_END;
		userdata = nftnl_set_elem_get(element, NFTNL_SET_ELEM_USERDATA, &size);
		border->comment = object_comment(userdata, size, NFTNL_UDATA_SET_ELEM_COMMENT);
	}
	nftnl_set_elems_iter_destroy(iterator);
	return element == NULL ? 0 : -ENOMEM;
}

static void decrement(uint8_t *key, uint32_t size)
{
	for (uint32_t i = size; i-- > 0;) {
		if (key[i]-- != 0)
			return;
	}
}

/* Where a plain range that begins at `at` has its last address. */
static void find_last(const struct borders *borders, size_t at, uint8_t *last)
{
	memset(last, 0xff, borders->size);
	for (size_t i = at + 1; i < borders->count; i++) {
		memcpy(last, borders->items[i].first, borders->size);
		decrement(last, borders->size);
		return;
	}
}

void elements_free(struct element *elements, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(elements[i].label);
		free(elements[i].comment);
	}
	free(elements);
}

/* gcc 12 loses sight of what is stored in an array of the caller's. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wanalyzer-malloc-leak"

static char *copy_comment(const struct border *border, bool *failed)
{
	char *made = border->comment != NULL ? strdup(border->comment) : NULL;

	*failed |= border->comment != NULL && made == NULL;
	return made;
}

static int make_elements(const struct borders *borders, bool ranges, struct element *elements,
			 size_t *count)
{
	bool failed = false;

	for (size_t i = 0; i < borders->count; i++) {
		const struct border *border = &borders->items[i];
		struct element *element = &elements[*count];

		if (border->end)
			continue;
		memcpy(element->first, border->first, sizeof(element->first));
		memcpy(element->last, border->last, sizeof(element->last));
		if (ranges)
			find_last(borders, i, element->last);
		element->comment = copy_comment(border, &failed);
		(*count)++;
	}
	return failed ? -ENOMEM : 0;
}

#pragma GCC diagnostic pop

int live_set_elements(struct nftnl_set *set, struct element **elements, size_t *count)
{
	bool interval = (nftnl_set_get_u32(set, NFTNL_SET_FLAGS) & NFT_SET_INTERVAL) != 0;
	const struct set_type *type =
		set_type_find(nftnl_set_get_u32(set, NFTNL_SET_KEY_TYPE), interval);
	struct borders borders = {0};
	int error;

	*elements = NULL;
	*count = 0;
	if (type == NULL || nftnl_set_get_u32(set, NFTNL_SET_KEY_LEN) != type->size)
		return -EINVAL;
	borders.size = type->size;
	error = collect_borders(set, &borders);
	if (error == 0) {
		if (borders.count > 0)
			qsort(borders.items, borders.count, sizeof(*borders.items),
			      compare_borders);
		*elements = calloc(borders.count + 1, sizeof(**elements));
		error = *elements == NULL ? -ENOMEM : 0;
	}
	if (error == 0)
		error = make_elements(&borders, type->interval && type->field_sizes[0] == 0,
				      *elements, count);
	if (error < 0) {
		elements_free(*elements, *count);
		*elements = NULL;
		*count = 0;
	}
	free(borders.items);
	return error;
}
