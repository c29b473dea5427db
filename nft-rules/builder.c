/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "builder.h"

#include "set_type.h"

#include "base/error.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const int builder_families[BUILDER_FAMILIES] = {AF_INET, AF_INET6};

char builder_digit(int family)
{
	return family == AF_INET ? '4' : '6';
}

void builder_refuse(struct builder *builder, int line, const char *format, ...)
{
	va_list arguments;

	fprintf(builder->report, "%s:%d: error: ", builder->config->path, line);
	va_start(arguments, format);
	vfprintf(builder->report, format, arguments);
	va_end(arguments);
	putc('\n', builder->report);
	builder->refused = true;
}

void builder_name(char name[BUILDER_NAME_SIZE], const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(name, BUILDER_NAME_SIZE, format, arguments);
	va_end(arguments);
}

struct chain *builder_chain(const struct builder *builder, const char *name)
{
	return builder->table ? (struct chain *)table_find_chain(builder->table, name) : NULL;
}

/* The set's own copy of its name, which lives as long as the rules that use it. */
const char *builder_set(const struct builder *builder, const char *name)
{
	const struct set *set = builder->table ? table_find_set(builder->table, name) : NULL;

	return set ? set->name : NULL;
}

/* --- statements, so that rules below read as they will be listed ------------------------ */

void rule_destination(struct rule *rule, int family, uint8_t protocol, const char *set)
{
	rule_add(rule, (struct statement){.kind = STATEMENT_DESTINATION,
					  .family = family,
					  .protocol = protocol,
					  .name = set});
}

void rule_address(struct rule *rule, int family, bool source, const char *set)
{
	rule_add(rule, (struct statement){.kind = STATEMENT_ADDRESS,
					  .family = family,
					  .source = source,
					  .name = set});
}

void rule_addresses(struct rule *rule, int family, const struct cover_block *block)
{
	struct statement statement = {.kind = STATEMENT_ADDRESSES, .family = family};

	cover_address(block->first, family, statement.first);
	cover_address(block->last, family, statement.last);
	rule_add(rule, statement);
}

void rule_ports(struct rule *rule, uint8_t protocol, const struct cover_block *block)
{
	rule_add(rule, (struct statement){.kind = STATEMENT_PORTS,
					  .protocol = protocol,
					  .number = block->first_port,
					  .last_number = block->last_port});
}

void rule_protocol(struct rule *rule, uint8_t protocol)
{
	rule_add(rule, (struct statement){.kind = STATEMENT_PROTOCOL, .protocol = protocol});
}

void rule_plain(struct rule *rule, enum statement_kind kind)
{
	rule_add(rule, (struct statement){.kind = kind});
}

void rule_numbered(struct rule *rule, enum statement_kind kind, uint32_t number)
{
	rule_add(rule, (struct statement){.kind = kind, .number = number});
}

void rule_named(struct rule *rule, enum statement_kind kind, const char *name)
{
	rule_add(rule, (struct statement){.kind = kind, .name = name});
}

void rule_counted(struct rule *rule, enum statement_kind verdict)
{
	rule_plain(rule, STATEMENT_COUNTER);
	rule_plain(rule, verdict);
}

/* To a chain of this table, which must be there already. */
void builder_counted_to(const struct builder *builder, struct rule *rule,
			enum statement_kind verdict, const char *chain)
{
	const struct chain *to = builder_chain(builder, chain);

	rule_plain(rule, STATEMENT_COUNTER);
	rule_named(rule, verdict, to ? to->name : NULL);
}

struct rule *builder_rule(const struct builder *builder, const char *chain, const char *comment)
{
	return chain_add_rule(builder->ruleset, builder_chain(builder, chain), "%s", comment);
}

void builder_log(const struct builder *builder, const char *chain, const char *prefix)
{
	struct rule *rule = builder_rule(builder, chain, "evidence, rate-limited");

	rule_numbered(rule, STATEMENT_LIMIT, BUILDER_LOGS_PER_MINUTE);
	rule_plain(rule, STATEMENT_COUNTER);
	rule_named(rule, STATEMENT_LOG, prefix);
}

/* --- sets ------------------------------------------------------------------------------- */

void blocks_deinit(struct blocks *blocks)
{
	free(blocks->items);
	free(blocks->comments);
}

const char *blocks_comment(const struct blocks *blocks, const struct cover_block *made)
{
	return blocks->comments != NULL ? blocks->comments[made->origin] : NULL;
}

int blocks_add(struct blocks *blocks, const struct address_prefix *prefix, uint16_t first,
	       uint16_t last, const char *comment)
{
	struct cover_block *items = blocks->items;
	const char **comments = blocks->comments;

	if ((blocks->count & (blocks->count - 1)) == 0) {
		size_t room = blocks->count == 0 ? 1 : blocks->count * 2;

		items = reallocarray(items, room, sizeof(*items));
		if (items != NULL)
			blocks->items = items;
		comments = reallocarray(comments, room, sizeof(*comments));
		if (comments != NULL)
			blocks->comments = comments;
		if (items == NULL || comments == NULL)
			return -ENOMEM;
	}
	items[blocks->count] = (struct cover_block){.first_port = first, .last_port = last};
	cover_block_set(&items[blocks->count], prefix);
	comments[blocks->count++] = comment;
	return 0;
}

void builder_fill_element(struct builder *builder, struct element *element, int family,
			  const struct cover_block *block, bool with_port, const char *comment)
{
	size_t size = family == AF_INET ? 4 : 16;

	if (element == NULL)
		return;
	cover_address(block->first, family, element->first);
	cover_address(block->last, family, element->last);
	if (with_port) {
		element->first[size] = (uint8_t)(block->first_port >> 8);
		element->first[size + 1] = (uint8_t)block->first_port;
		element->last[size] = (uint8_t)(block->last_port >> 8);
		element->last[size + 1] = (uint8_t)block->last_port;
	}
	if (comment != NULL) {
		element->comment = strdup(comment);
		builder->ruleset->failed |= element->comment == NULL;
	}
}

/* A set of what `blocks` cover; with ports as address . port, without as addresses. */
void builder_cover_set(struct builder *builder, const char *name, int family,
		       const struct blocks *blocks, bool with_port, const char *comment)
{
	struct set *set = table_add_set(builder->ruleset, builder->table, name,
					set_type_for(family, with_port, true), comment);
	struct cover_block *made;
	size_t count;

	if (cover(blocks->items, blocks->count, !with_port, &made, &count) < 0) {
		builder->ruleset->failed = true;
		return;
	}
	for (size_t i = 0; i < count; i++)
		builder_fill_element(builder, set_add_element(builder->ruleset, set), family,
				     &made[i], with_port, blocks_comment(blocks, &made[i]));
	free(made);
}

void builder_key(struct builder *builder, const char *set_name, const void *key, size_t size,
		 const char *label)
{
	struct set *set = (struct set *)table_find_set(builder->table, set_name);
	struct element *element;

	for (size_t i = 0; set != NULL && i < set->element_count; i++) {
		if (memcmp(set->elements[i].first, key, size) == 0)
			return;
	}
	element = set_add_element(builder->ruleset, set);
	if (element == NULL)
		return;
	memcpy(element->first, key, size);
	memcpy(element->last, key, size);
	if (label != NULL) {
		element->label = strdup(label);
		builder->ruleset->failed |= element->label == NULL;
	}
}

void builder_port_key(struct builder *builder, const char *set_name, const struct address *listen)
{
	uint16_t port = htons(address_port(listen));

	builder_key(builder, set_name, &port, sizeof(port), NULL);
}
