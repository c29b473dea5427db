/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "exchange.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* An element as bytes that can be compared. */
struct item {
	struct nftnl_set_elem *element;
	const uint8_t *key, *key_end, *userdata;
	uint32_t size, end_size, userdata_size;
	bool end; /* the border behind a range */
};

struct items {
	struct item *list;
	size_t count;
};

static bool is_end(struct nftnl_set_elem *element)
{
	return nftnl_set_elem_is_set(element, NFTNL_SET_ELEM_FLAGS) &&
	       (nftnl_set_elem_get_u32(element, NFTNL_SET_ELEM_FLAGS) &
		NFT_SET_ELEM_INTERVAL_END) != 0;
}

static void read_item(struct nftnl_set_elem *element, struct item *item)
{
	*item = (struct item){.element = element, .end = is_end(element)};
	if (nftnl_set_elem_is_set(element, NFTNL_SET_ELEM_KEY))
		item->key = nftnl_set_elem_get(element, NFTNL_SET_ELEM_KEY, &item->size);
	if (nftnl_set_elem_is_set(element, NFTNL_SET_ELEM_KEY_END))
		item->key_end =
			nftnl_set_elem_get(element, NFTNL_SET_ELEM_KEY_END, &item->end_size);
	if (nftnl_set_elem_is_set(element, NFTNL_SET_ELEM_USERDATA))
		item->userdata =
			nftnl_set_elem_get(element, NFTNL_SET_ELEM_USERDATA, &item->userdata_size);
}

static int compare_bytes(const uint8_t *a, uint32_t a_size, const uint8_t *b, uint32_t b_size)
{
	uint32_t size = a_size < b_size ? a_size : b_size;
	int order = size > 0 ? memcmp(a, b, size) : 0;

	return order != 0 ? order : (a_size > b_size) - (a_size < b_size);
}

static int compare_items(const void *a, const void *b)
{
	const struct item *x = a, *y = b;
	int order = compare_bytes(x->key, x->size, y->key, y->size);

	if (order == 0)
		order = (int)y->end - (int)x->end;
	if (order == 0)
		order = compare_bytes(x->key_end, x->end_size, y->key_end, y->end_size);
	if (order == 0)
		order = compare_bytes(x->userdata, x->userdata_size, y->userdata, y->userdata_size);
	return order;
}

static int collect(struct nftnl_set *set, struct items *items)
{
	struct nftnl_set_elems_iter *iterator = nftnl_set_elems_iter_create(set);
	struct nftnl_set_elem *element;
	size_t room = 0;

	if (iterator == NULL)
		return -ENOMEM;
	while ((element = nftnl_set_elems_iter_next(iterator)) != NULL) {
		if (items->count == room) {
			size_t wanted = room * 2 + 64;
			struct item *grown = reallocarray(items->list, wanted, sizeof(*grown));

			if (grown == NULL)
				break;
			items->list = grown;
			room = wanted;
		}
		read_item(element, &items->list[items->count++]);
	}
	nftnl_set_elems_iter_destroy(iterator);
	if (items->count > 0)
		qsort(items->list, items->count, sizeof(*items->list), compare_items);
	return element == NULL ? 0 : -ENOMEM;
}

static int copy_item(struct nftnl_set *to, const struct item *item)
{
	struct nftnl_set_elem *copy = nftnl_set_elem_alloc();
	int error;

	if (copy == NULL)
		return -ENOMEM;
	error = nftnl_set_elem_set(copy, NFTNL_SET_ELEM_KEY, item->key, item->size);
	if (error == 0 && item->key_end != NULL)
		error = nftnl_set_elem_set(copy, NFTNL_SET_ELEM_KEY_END, item->key_end,
					   item->end_size);
	if (error == 0 && item->userdata != NULL)
		error = nftnl_set_elem_set(copy, NFTNL_SET_ELEM_USERDATA, item->userdata,
					   item->userdata_size);
	if (item->end)
		nftnl_set_elem_set_u32(copy, NFTNL_SET_ELEM_FLAGS, NFT_SET_ELEM_INTERVAL_END);
	if (error < 0) {
		nftnl_set_elem_free(copy);
		return -ENOMEM;
	}
	nftnl_set_elem_add(to, copy);
	return 0;
}

/* Into *set, which is made with the first one. */
static int keep(const struct nftnl_set *like, const struct item *item, struct nftnl_set **set)
{
	if (*set == NULL) {
		*set = nftnl_set_alloc();
		if (*set == NULL)
			return -ENOMEM;
		nftnl_set_set_u32(*set, NFTNL_SET_FAMILY,
				  nftnl_set_get_u32(like, NFTNL_SET_FAMILY));
		if (nftnl_set_set_str(*set, NFTNL_SET_TABLE,
				      nftnl_set_get_str(like, NFTNL_SET_TABLE)) < 0 ||
		    nftnl_set_set_str(*set, NFTNL_SET_NAME,
				      nftnl_set_get_str(like, NFTNL_SET_NAME)) < 0)
			return -ENOMEM;
	}
	return copy_item(*set, item);
}

static int merge(const struct nftnl_set *like, const struct items *live, const struct items *wanted,
		 struct nftnl_set **removed, struct nftnl_set **added)
{
	size_t at = 0, live_at = 0;
	int error = 0;

	while (error == 0 && (at < wanted->count || live_at < live->count)) {
		int order = at == wanted->count ? -1
			    : live_at == live->count
				    ? 1
				    : compare_items(&live->list[live_at], &wanted->list[at]);

		if (order < 0)
			error = keep(like, &live->list[live_at++], removed);
		else if (order > 0)
			error = keep(like, &wanted->list[at++], added);
		else {
			at++;
			live_at++;
		}
	}
	return error;
}

int exchange_find(struct nftnl_set *live, struct nftnl_set *wanted, struct nftnl_set **removed,
		  struct nftnl_set **added)
{
	struct items there = {0}, here = {0};
	int error = collect(live, &there);

	*removed = NULL;
	*added = NULL;
	if (error == 0)
		error = collect(wanted, &here);
	if (error == 0)
		error = merge(wanted, &there, &here, removed, added);
	free(there.list);
	free(here.list);
	if (error == 0)
		return 0;
	if (*removed != NULL)
		nftnl_set_free(*removed);
	if (*added != NULL)
		nftnl_set_free(*added);
	*removed = NULL;
	*added = NULL;
	return error;
}
