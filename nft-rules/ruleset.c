/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "ruleset.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void free_set(struct set *set)
{
	for (size_t i = 0; i < set->element_count; i++) {
		free(set->elements[i].label);
		free(set->elements[i].comment);
	}
	free(set->elements);
	free(set->name);
}

static void free_chain(struct chain *chain)
{
	free(chain->rules);
	free(chain->name);
}

void ruleset_deinit(struct ruleset *ruleset)
{
	for (size_t i = 0; i < ruleset->table_count; i++) {
		struct table *table = &ruleset->tables[i];

		for (size_t j = 0; j < table->set_count; j++)
			free_set(&table->sets[j]);
		for (size_t j = 0; j < table->chain_count; j++)
			free_chain(&table->chains[j]);
		free(table->sets);
		free(table->chains);
	}
	free(ruleset->tables);
	*ruleset = (struct ruleset){0};
}

const struct table *ruleset_find_table(const struct ruleset *ruleset, const char *name)
{
	for (size_t i = 0; i < ruleset->table_count; i++) {
		if (strcmp(ruleset->tables[i].name, name) == 0)
			return &ruleset->tables[i];
	}
	return NULL;
}

const struct set *table_find_set(const struct table *table, const char *name)
{
	for (size_t i = 0; i < table->set_count; i++) {
		if (strcmp(table->sets[i].name, name) == 0)
			return &table->sets[i];
	}
	return NULL;
}

const struct chain *table_find_chain(const struct table *table, const char *name)
{
	for (size_t i = 0; i < table->chain_count; i++) {
		if (strcmp(table->chains[i].name, name) == 0)
			return &table->chains[i];
	}
	return NULL;
}

/* A pointer to items of any kind. */
typedef char *__attribute__((may_alias)) items_t;

/* Room for one more, zeroed; capacities are powers of two. */
static void *grow(struct ruleset *ruleset, void *items, size_t *count, size_t size)
{
	char *array = *(items_t *)items;
	char *grown;

	if ((*count & (*count - 1)) == 0) {
		grown = reallocarray(array, *count == 0 ? 1 : *count * 2, size);
		if (grown == NULL) {
			ruleset->failed = true;
			return NULL;
		}
		array = grown;
		*(items_t *)items = array;
	}
	return memset(array + size * (*count)++, 0, size);
}

static char *copy(struct ruleset *ruleset, const char *text)
{
	char *made = strdup(text);

	ruleset->failed |= made == NULL;
	return made;
}

struct table *ruleset_add_table(struct ruleset *ruleset, const char *name, const char *comment)
{
	struct table *table =
		grow(ruleset, &ruleset->tables, &ruleset->table_count, sizeof(*table));

	if (table != NULL) {
		table->name = name;
		snprintf(table->comment, sizeof(table->comment), "%s", comment);
	}
	return table;
}

struct set *table_add_set(struct ruleset *ruleset, struct table *table, const char *name,
			  const struct set_type *type, const char *comment)
{
	struct set *set =
		table ? grow(ruleset, &table->sets, &table->set_count, sizeof(*set)) : NULL;

	if (set != NULL) {
		set->name = copy(ruleset, name);
		set->type = type;
		snprintf(set->comment, sizeof(set->comment), "%s", comment);
	}
	return set;
}

struct chain *table_add_chain(struct ruleset *ruleset, struct table *table, const char *name,
			      const struct hook *hook)
{
	struct chain *chain =
		table ? grow(ruleset, &table->chains, &table->chain_count, sizeof(*chain)) : NULL;

	if (chain != NULL) {
		chain->name = copy(ruleset, name);
		chain->hook = hook;
	}
	return chain;
}

struct element *set_add_element(struct ruleset *ruleset, struct set *set)
{
	return set ? grow(ruleset, &set->elements, &set->element_count, sizeof(struct element))
		   : NULL;
}

struct rule *chain_add_rule(struct ruleset *ruleset, struct chain *chain, const char *comment, ...)
{
	struct rule *rule =
		chain ? grow(ruleset, &chain->rules, &chain->rule_count, sizeof(*rule)) : NULL;
	va_list arguments;

	if (rule != NULL) {
		va_start(arguments, comment);
		vsnprintf(rule->comment, sizeof(rule->comment), comment, arguments);
		va_end(arguments);
	}
	return rule;
}

void rule_add(struct rule *rule, struct statement statement)
{
	if (rule == NULL)
		return;
	if (rule->count == RULE_STATEMENTS_MAX)
		abort();
	rule->statements[rule->count++] = statement;
}
