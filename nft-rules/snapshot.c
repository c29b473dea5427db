/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How it works
 *
 * The answer to a question about a chain, set, element or rule has the attributes that the request
 * to make one has, and a few more: its handle, how often it is used. These are left out; the rest
 * is copied, nested attributes and all. A set without a name of its own ("__set0") may be made
 * under that name, and the rule that belongs to it finds it by name.
 *
 * Base chains stay in place, as long as the same ones are there now and then, so that nothing
 * passes meanwhile (see difference.c); everything else is deleted and made anew in the old order,
 * so that a list reads as before. Where the base chains are others, the table goes as a whole.
 */
#include "snapshot.h"

#include "base/error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdlib.h>
#include <string.h>

#define ATTEMPTS 20

struct snapshot_message {
	uint16_t type; /* NFT_MSG_NEW... */
	struct nlmsghdr *bytes;
};

/* What of an answer makes the same thing again: bits by number of the attribute. */
#define ATTRIBUTE(name) (1ULL << (name))
static const struct {
	uint16_t question, type;
	uint64_t attributes;
} kinds[] = {
	/* In the order in which they are made: rules name sets and chains, elements name chains. */
	{NFT_MSG_GETTABLE, NFT_MSG_NEWTABLE,
	 ATTRIBUTE(NFTA_TABLE_NAME) | ATTRIBUTE(NFTA_TABLE_FLAGS) | ATTRIBUTE(NFTA_TABLE_USERDATA)},
	{NFT_MSG_GETOBJ, NFT_MSG_NEWOBJ,
	 ATTRIBUTE(NFTA_OBJ_TABLE) | ATTRIBUTE(NFTA_OBJ_NAME) | ATTRIBUTE(NFTA_OBJ_TYPE) |
		 ATTRIBUTE(NFTA_OBJ_DATA) | ATTRIBUTE(NFTA_OBJ_USERDATA)},
	{NFT_MSG_GETFLOWTABLE, NFT_MSG_NEWFLOWTABLE,
	 ATTRIBUTE(NFTA_FLOWTABLE_TABLE) | ATTRIBUTE(NFTA_FLOWTABLE_NAME) |
		 ATTRIBUTE(NFTA_FLOWTABLE_HOOK) | ATTRIBUTE(NFTA_FLOWTABLE_FLAGS)},
	{NFT_MSG_GETSET, NFT_MSG_NEWSET,
	 ATTRIBUTE(NFTA_SET_TABLE) | ATTRIBUTE(NFTA_SET_NAME) | ATTRIBUTE(NFTA_SET_FLAGS) |
		 ATTRIBUTE(NFTA_SET_KEY_TYPE) | ATTRIBUTE(NFTA_SET_KEY_LEN) |
		 ATTRIBUTE(NFTA_SET_DATA_TYPE) | ATTRIBUTE(NFTA_SET_DATA_LEN) |
		 ATTRIBUTE(NFTA_SET_POLICY) | ATTRIBUTE(NFTA_SET_DESC) |
		 ATTRIBUTE(NFTA_SET_TIMEOUT) | ATTRIBUTE(NFTA_SET_GC_INTERVAL) |
		 ATTRIBUTE(NFTA_SET_USERDATA) | ATTRIBUTE(NFTA_SET_OBJ_TYPE) |
		 ATTRIBUTE(NFTA_SET_EXPR) | ATTRIBUTE(NFTA_SET_EXPRESSIONS)},
	{NFT_MSG_GETCHAIN, NFT_MSG_NEWCHAIN,
	 ATTRIBUTE(NFTA_CHAIN_TABLE) | ATTRIBUTE(NFTA_CHAIN_NAME) | ATTRIBUTE(NFTA_CHAIN_HOOK) |
		 ATTRIBUTE(NFTA_CHAIN_POLICY) | ATTRIBUTE(NFTA_CHAIN_TYPE) |
		 ATTRIBUTE(NFTA_CHAIN_USERDATA)},
	{NFT_MSG_GETSETELEM, NFT_MSG_NEWSETELEM,
	 ATTRIBUTE(NFTA_SET_ELEM_LIST_TABLE) | ATTRIBUTE(NFTA_SET_ELEM_LIST_SET) |
		 ATTRIBUTE(NFTA_SET_ELEM_LIST_ELEMENTS)},
	{NFT_MSG_GETRULE, NFT_MSG_NEWRULE,
	 ATTRIBUTE(NFTA_RULE_TABLE) | ATTRIBUTE(NFTA_RULE_CHAIN) |
		 ATTRIBUTE(NFTA_RULE_EXPRESSIONS) | ATTRIBUTE(NFTA_RULE_COMPAT) |
		 ATTRIBUTE(NFTA_RULE_USERDATA)},
};

/* The text of attribute `type`, or NULL. */
static const char *text_of(const struct nlmsghdr *message, uint16_t type)
{
	const struct nlattr *attribute;

	for (attribute = netlink_next(message, sizeof(struct nfgenmsg), NULL); attribute != NULL;
	     attribute = netlink_next(message, sizeof(struct nfgenmsg), attribute)) {
		if (mnl_attr_get_type(attribute) == type)
			return mnl_attr_get_str(attribute);
	}
	return NULL;
}

static bool has(const struct nlmsghdr *message, uint16_t type)
{
	return text_of(message, type) != NULL;
}

/* --- taking ----------------------------------------------------------------------------- */

static int keep(const struct nlmsghdr *message, void *data)
{
	struct snapshot *snapshot = data;
	const char *table = text_of(message, 1); /* the table's name, in every kind of message */
	struct snapshot_message *grown;

	if (table == NULL || strcmp(table, snapshot->name) != 0)
		return MNL_CB_OK;
	grown = reallocarray(snapshot->messages, snapshot->count + 1, sizeof(*grown));
	if (grown == NULL)
		return MNL_CB_ERROR;
	snapshot->messages = grown;
	grown += snapshot->count;
	grown->type = message->nlmsg_type & 0xff;
	grown->bytes = malloc(message->nlmsg_len);
	if (grown->bytes == NULL)
		return MNL_CB_ERROR;
	memcpy(grown->bytes, message, message->nlmsg_len);
	snapshot->count++;
	return MNL_CB_OK;
}

static int ask(struct netlink *netlink, struct snapshot *snapshot, uint16_t type, uint16_t flags,
	       const char *set)
{
	char buffer[MNL_NLMSG_HDRLEN + 1024];
	struct nlmsghdr *message = nftnl_nlmsg_build_hdr(buffer, type, NFPROTO_INET, flags, 0);

	mnl_attr_put_strz(message, NFTA_TABLE_NAME, snapshot->name);
	if (set != NULL)
		mnl_attr_put_strz(message, NFTA_SET_ELEM_LIST_SET, set);
	return netlink_ask(netlink, message, keep, snapshot);
}

static int ask_elements(struct netlink *netlink, struct snapshot *snapshot)
{
	size_t count = snapshot->count;
	int error = 0;

	for (size_t i = 0; i < count && error == 0; i++) {
		if (snapshot->messages[i].type == NFT_MSG_NEWSET)
			error = ask(netlink, snapshot, NFT_MSG_GETSETELEM, NLM_F_DUMP,
				    text_of(snapshot->messages[i].bytes, NFTA_SET_NAME));
	}
	return error;
}

static int ask_all(struct netlink *netlink, struct snapshot *snapshot)
{
	int error = ask(netlink, snapshot, NFT_MSG_GETTABLE, NLM_F_ACK, NULL);

	if (error == -ENOENT)
		return 0;
	snapshot->exists = error == 0;
	for (size_t i = 1; i < ARRAY_SIZE(kinds) && error == 0; i++) {
		if (kinds[i].question == NFT_MSG_GETSETELEM)
			error = ask_elements(netlink, snapshot);
		else
			error = ask(netlink, snapshot, kinds[i].question, NLM_F_DUMP, NULL);
	}
	return error;
}

/* -EAGAIN: something changed meanwhile. */
static int take_once(struct netlink *netlink, struct snapshot *snapshot, uint32_t *generation)
{
	uint32_t after = 0;
	int error = netlink_generation(netlink, generation);

	if (error == 0)
		error = ask_all(netlink, snapshot);
	if (error == 0)
		error = netlink_generation(netlink, &after);
	if (error == -EINTR || error == -ENOENT || (error == 0 && after != *generation))
		return -EAGAIN;
	return error;
}

int snapshot_take(struct netlink *netlink, const char *name, struct snapshot *snapshot,
		  uint32_t *generation)
{
	int error = -EAGAIN;

	*snapshot = (struct snapshot){.name = name};
	for (int i = 0; i < ATTEMPTS && error == -EAGAIN; i++) {
		error = take_once(netlink, snapshot, generation);
		if (error < 0)
			snapshot_deinit(snapshot);
	}
	return error;
}

void snapshot_deinit(struct snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->count; i++)
		free(snapshot->messages[i].bytes);
	free(snapshot->messages);
	snapshot->messages = NULL;
	snapshot->count = 0;
	snapshot->exists = false;
}

/* --- putting back ----------------------------------------------------------------------- */

static void add_named(struct batch *batch, uint16_t type, const char *table, uint16_t attribute,
		      const char *name)
{
	struct nlmsghdr *message =
		batch_add(batch, type, 0, "\"%s\" of table inet %s", name, table);

	if (message == NULL)
		return;
	mnl_attr_put_strz(message, NFTA_TABLE_NAME, table);
	if (attribute != 0)
		mnl_attr_put_strz(message, attribute, name);
}

static void copy_message(const struct snapshot *snapshot, const struct snapshot_message *from,
			 uint64_t attributes, uint32_t number, struct batch *batch)
{
	uint16_t flags = from->type == NFT_MSG_NEWRULE ? NLM_F_CREATE | NLM_F_APPEND : NLM_F_CREATE;
	struct nlmsghdr *message =
		batch_add(batch, from->type, flags, "table inet %s as it was", snapshot->name);
	const struct nlattr *attribute;

	if (message == NULL)
		return;
	for (attribute = netlink_next(from->bytes, sizeof(struct nfgenmsg), NULL);
	     attribute != NULL;
	     attribute = netlink_next(from->bytes, sizeof(struct nfgenmsg), attribute)) {
		uint16_t type = mnl_attr_get_type(attribute);

		if (type >= 64 || (attributes & 1ULL << type) == 0)
			continue;
		/* With the flag for nested ones in its type. */
		mnl_attr_put(message, attribute->nla_type, mnl_attr_get_payload_len(attribute),
			     mnl_attr_get_payload(attribute));
	}
	if (from->type == NFT_MSG_NEWSET)
		mnl_attr_put_u32(message, NFTA_SET_ID, htonl(number));
}

static bool is_base(const struct snapshot_message *message)
{
	return message->type == NFT_MSG_NEWCHAIN && has(message->bytes, NFTA_CHAIN_HOOK);
}

static bool same_chain(const struct snapshot_message *then, const struct nftnl_chain *now)
{
	struct nftnl_chain *parsed = nftnl_chain_alloc();
	bool same = parsed != NULL && nftnl_chain_nlmsg_parse(then->bytes, parsed) == 0;

	same = same &&
	       strcmp(nftnl_chain_get_str(parsed, NFTNL_CHAIN_NAME),
		      nftnl_chain_get_str(now, NFTNL_CHAIN_NAME)) == 0 &&
	       nftnl_chain_get_u32(parsed, NFTNL_CHAIN_HOOKNUM) ==
		       nftnl_chain_get_u32(now, NFTNL_CHAIN_HOOKNUM) &&
	       nftnl_chain_get_s32(parsed, NFTNL_CHAIN_PRIO) ==
		       nftnl_chain_get_s32(now, NFTNL_CHAIN_PRIO) &&
	       strcmp(nftnl_chain_get_str(parsed, NFTNL_CHAIN_TYPE),
		      nftnl_chain_get_str(now, NFTNL_CHAIN_TYPE)) == 0;
	if (parsed != NULL)
		nftnl_chain_free(parsed);
	return same;
}

/* The base chains of now are those of then, in front of all others and in the same order. */
static bool same_base_chains(const struct snapshot *snapshot, const struct live_table *live)
{
	size_t at = 0, chains = 0;

	for (size_t i = 0; i < snapshot->count; i++) {
		const struct snapshot_message *message = &snapshot->messages[i];

		if (message->type != NFT_MSG_NEWCHAIN)
			continue;
		if (is_base(message) &&
		    (at != chains || at >= live->chain_count ||
		     !nftnl_chain_is_set(live->chains[at], NFTNL_CHAIN_HOOKNUM) ||
		     !same_chain(message, live->chains[at])))
			return false;
		at += is_base(message);
		chains++;
	}
	for (; at < live->chain_count; at++) {
		if (nftnl_chain_is_set(live->chains[at], NFTNL_CHAIN_HOOKNUM))
			return false;
	}
	return true;
}

/* Named objects and flowtables of now; those of then are made again. */
static void clear_objects(const struct snapshot *snapshot, const struct live_table *live,
			  struct batch *batch)
{
	for (size_t i = 0; i < live->object_count; i++) {
		struct nlmsghdr *message = batch_add(
			batch, NFT_MSG_DELOBJ, 0, "named object of table inet %s", snapshot->name);

		if (message != NULL)
			nftnl_obj_nlmsg_build_payload(message, live->objects[i]);
	}
	for (size_t i = 0; i < live->flowtable_count; i++)
		add_named(batch, NFT_MSG_DELFLOWTABLE, snapshot->name, NFTA_FLOWTABLE_NAME,
			  nftnl_flowtable_get_str(live->flowtables[i], NFTNL_FLOWTABLE_NAME));
}

/* Rules of every chain; then sets with a name of their own, and chains to jump to. */
static void clear(const struct snapshot *snapshot, const struct live_table *live,
		  struct batch *batch)
{
	for (size_t i = 0; i < live->chain_count; i++)
		add_named(batch, NFT_MSG_DELRULE, snapshot->name, NFTA_RULE_CHAIN,
			  nftnl_chain_get_str(live->chains[i], NFTNL_CHAIN_NAME));
	for (size_t i = 0; i < live->set_count; i++) {
		if (!(nftnl_set_get_u32(live->sets[i], NFTNL_SET_FLAGS) & NFT_SET_ANONYMOUS))
			add_named(batch, NFT_MSG_DELSET, snapshot->name, NFTA_SET_NAME,
				  nftnl_set_get_str(live->sets[i], NFTNL_SET_NAME));
	}
	for (size_t i = 0; i < live->chain_count; i++) {
		if (!nftnl_chain_is_set(live->chains[i], NFTNL_CHAIN_HOOKNUM))
			add_named(batch, NFT_MSG_DELCHAIN, snapshot->name, NFTA_CHAIN_NAME,
				  nftnl_chain_get_str(live->chains[i], NFTNL_CHAIN_NAME));
	}
}

void snapshot_restore(const struct snapshot *snapshot, const struct live_table *live,
		      struct batch *batch)
{
	uint32_t number = 0;
	bool in_place = snapshot->exists && live->exists && same_base_chains(snapshot, live);

	if (live->exists && !in_place)
		add_named(batch, NFT_MSG_DELTABLE, snapshot->name, 0, snapshot->name);
	else if (live->exists) {
		clear(snapshot, live, batch);
		clear_objects(snapshot, live, batch);
	}
	for (size_t kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		for (size_t i = 0; i < snapshot->count; i++) {
			if (snapshot->messages[i].type == kinds[kind].type)
				copy_message(snapshot, &snapshot->messages[i],
					     kinds[kind].attributes, ++number, batch);
		}
	}
}
