/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How it works
 *
 * Base chains that are right stay where they are: only their rules and the elements of sets are
 * exchanged. The kernel switches these from one generation to the next without a gap, while a base
 * chain that is taken out and put in again lets single packets by (measured: a few in ten thousand
 * connections). For the same reason nothing is touched that is right already, of a set neither:
 * elements that stay are left alone (exchange.c). That also keeps counters.
 *
 * The order of messages: declare the table; empty the chains to be written anew and those to go;
 * delete chains and sets that are not wanted, or that are of another kind now; declare sets and
 * exchange their elements; declare chains, fill them. As soon as a set or chain goes, every chain
 * is written anew: any rule might refer to it.
 */
#include "difference.h"

#include "exchange.h"
#include "object.h"
#include "set_type.h"
#include "statement.h"

#include "base/error.h"

#include <errno.h>
#include <libnftnl/expr.h>
#include <libnftnl/udata.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <stdlib.h>
#include <string.h>

#define RULE_TEXT_SIZE 4096

/* --- lines ------------------------------------------------------------------------------ */

/* Takes `text`; NULL is no memory. */
static int add_line(struct difference *difference, char sign, char *text)
{
	struct difference_line *lines;

	if (text == NULL)
		return -ENOMEM;
	lines = reallocarray(difference->lines, difference->line_count + 1, sizeof(*lines));
	if (lines == NULL) {
		free(text);
		return -ENOMEM;
	}
	difference->lines = lines;
	lines[difference->line_count++] = (struct difference_line){sign, text};
	return 0;
}

static int __attribute__((format(printf, 3, 4)))
say(struct difference *difference, char sign, const char *format, ...)
{
	va_list arguments;
	char *text;
	int length;

	va_start(arguments, format);
	length = vasprintf(&text, format, arguments);
	va_end(arguments);
	return add_line(difference, sign, length < 0 ? NULL : text);
}

static int say_rule(struct difference *difference, const char *chain, const struct rule *rule)
{
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	if (file == NULL)
		return -ENOMEM;
	fprintf(file, "chain %s: ", chain);
	rule_print(rule, file);
	fprintf(file, " comment \"%s\"", rule->comment);
	if (fclose(file) != 0) {
		free(text);
		return -ENOMEM;
	}
	return add_line(difference, '+', text);
}

static const char *live_comment(const struct nftnl_rule *rule)
{
	uint32_t size = 0;
	const void *userdata = nftnl_rule_get_data(rule, NFTNL_RULE_USERDATA, &size);

	return object_comment(userdata, size, NFTNL_UDATA_RULE_COMMENT);
}

/* A rule that is not ours can be anything: it is shown as libnftnl knows it. */
static int say_live_rule(struct difference *difference, const struct nftnl_rule *rule)
{
	const char *comment = live_comment(rule);
	char text[RULE_TEXT_SIZE], *from, *to = text;

	if (nftnl_rule_snprintf(text, sizeof(text), rule, NFTNL_OUTPUT_DEFAULT, 0) < 0)
		text[0] = '\0';
	/* One line: the first word of it is the family, table and chain again. */
	from = strchr(text, '[') ? strchr(text, '[') : text;
	if (strstr(from, "userdata") != NULL)
		*strstr(from, "userdata") = '\0';
	for (; *from != '\0'; from++) {
		if (*from != '\n')
			*to++ = *from;
	}
	*to = '\0';
	return say(difference, '-', "chain %s: rule handle %llu%s%s%s: %s",
		   nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN),
		   (unsigned long long)nftnl_rule_get_u64(rule, NFTNL_RULE_HANDLE),
		   comment ? " \"" : "", comment ? comment : "", comment ? "\"" : "", text);
}

static int say_element(struct difference *difference, char sign, const char *set,
		       const struct set_type *type, const struct element *element)
{
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	if (file == NULL)
		return -ENOMEM;
	fprintf(file, "set %s: ", set);
	element_print(type, element, file);
	if (element->comment != NULL)
		fprintf(file, " comment \"%s\"", element->comment);
	if (fclose(file) != 0) {
		free(text);
		return -ENOMEM;
	}
	return add_line(difference, sign, text);
}

/* --- sets ------------------------------------------------------------------------------- */

static int compare_elements(const void *a, const void *b)
{
	const struct element *x = a, *y = b;
	int order = memcmp(x->first, y->first, sizeof(x->first));

	return order != 0 ? order : memcmp(x->last, y->last, sizeof(x->last));
}

static bool same_element(const struct element *a, const struct element *b)
{
	const char *x = a->comment ? a->comment : "", *y = b->comment ? b->comment : "";

	return compare_elements(a, b) == 0 && strcmp(x, y) == 0;
}

/* Both ascending. 0 and whether they differ in *differ. */
static int compare_lists(struct difference *difference, const struct set *set,
			 const struct element *live, size_t live_count, bool *differ)
{
	const struct element *wanted = set->elements;
	size_t at = 0, live_at = 0;
	int error = 0;

	*differ = false;
	while (error == 0 && (at < set->element_count || live_at < live_count)) {
		bool has = at < set->element_count, has_live = live_at < live_count;
		int order;

		if (has && has_live && same_element(&wanted[at], &live[live_at])) {
			at++;
			live_at++;
			continue;
		}
		*differ = true;
		order = has && has_live ? compare_elements(&wanted[at], &live[live_at])
					: (has ? -1 : 1);
		if (order >= 0)
			error = say_element(difference, '-', set->name, set->type,
					    &live[live_at++]);
		if (error == 0 && order <= 0)
			error = say_element(difference, '+', set->name, set->type, &wanted[at++]);
	}
	return error;
}

static int sort_wanted(const struct set *set, struct set *sorted)
{
	*sorted = *set;
	sorted->elements = calloc(set->element_count + 1, sizeof(*set->elements));
	if (sorted->elements == NULL)
		return -ENOMEM;
	if (set->element_count > 0)
		memcpy(sorted->elements, set->elements,
		       set->element_count * sizeof(*set->elements));
	qsort(sorted->elements, set->element_count, sizeof(*set->elements), compare_elements);
	return 0;
}

static int compare_set_elements(struct difference *difference, const struct set *set,
				struct nftnl_set *live, bool *differ)
{
	struct element *elements;
	struct set sorted;
	size_t count;
	int error = live_set_elements(live, &elements, &count);

	if (error < 0)
		return error;
	error = sort_wanted(set, &sorted);
	if (error == 0)
		error = compare_lists(difference, &sorted, elements, count, differ);
	free(sorted.elements);
	elements_free(elements, count);
	return error;
}

/* Its kind: what cannot be changed once a set is there. */
static bool same_set(const struct set *set, struct nftnl_set *live)
{
	const struct set_type *type = set->type;
	uint32_t flags = (type->interval ? (uint32_t)NFT_SET_INTERVAL : 0U) |
			 (type->interval && type->field_sizes[0] ? (uint32_t)NFT_SET_CONCAT : 0U);
	uint32_t size = 0;
	const void *userdata = nftnl_set_get_data(live, NFTNL_SET_USERDATA, &size);
	const char *comment = object_comment(userdata, size, NFTNL_UDATA_SET_COMMENT);

	return nftnl_set_get_u32(live, NFTNL_SET_KEY_TYPE) == type->number &&
	       nftnl_set_get_u32(live, NFTNL_SET_KEY_LEN) == type->size &&
	       nftnl_set_get_u32(live, NFTNL_SET_FLAGS) == flags &&
	       strcmp(comment ? comment : "", set->comment) == 0;
}

static int compare_set(struct difference *difference, size_t at)
{
	const struct set *set = &difference->wanted->sets[at];
	int error = 0;

	for (size_t i = 0; i < difference->live->set_count; i++) {
		struct nftnl_set *live = difference->live->sets[i];

		if (strcmp(nftnl_set_get_str(live, NFTNL_SET_NAME), set->name) != 0)
			continue;
		if (same_set(set, live))
			return compare_set_elements(difference, set, live,
						    &difference->new_elements[at]);
		difference->stale_sets[i] = true;
		error = say(difference, '-', "set %s: of another type or comment", set->name);
	}
	difference->new_elements[at] = true;
	if (error == 0)
		error = say(difference, '+', "set %s { type %s }", set->name, set->type->name);
	for (size_t i = 0; i < set->element_count && error == 0; i++)
		error = say_element(difference, '+', set->name, set->type, &set->elements[i]);
	return error;
}

/* --- rules ------------------------------------------------------------------------------ */

struct expressions {
	struct nftnl_expr *items[RULE_STATEMENTS_MAX * 5];
	size_t count;
};

static int collect_expression(struct nftnl_expr *expr, void *data)
{
	struct expressions *all = data;

	if (all->count == ARRAY_SIZE(all->items))
		return -1;
	all->items[all->count++] = expr;
	return 0;
}

/* A lower and an upper bound: how nft before 1.1.2 writes a range. */
static bool is_bound(const struct nftnl_expr *expr, uint32_t op)
{
	return strcmp(nftnl_expr_get_str(expr, NFTNL_EXPR_NAME), "cmp") == 0 &&
	       nftnl_expr_get_u32(expr, NFTNL_EXPR_CMP_OP) == op;
}

static void print_range(const void *from, uint32_t from_size, const void *to, uint32_t to_size,
			FILE *file)
{
	const uint8_t *bytes[] = {from, to};
	uint32_t sizes[] = {from_size, to_size};

	fputs("range", file);
	for (size_t i = 0; i < ARRAY_SIZE(bytes); i++) {
		putc(' ', file);
		for (uint32_t j = 0; j < sizes[i]; j++)
			fprintf(file, "%02x", bytes[i][j]);
	}
}

static void print_expression(const struct nftnl_expr *expr, FILE *file)
{
	const char *name = nftnl_expr_get_str(expr, NFTNL_EXPR_NAME);
	uint32_t from_size = 0, to_size = 0;
	const void *from, *to;
	char text[512];

	/* Values of counters do not count; sets are known by name, not by a transaction's number.
	 */
	if (strcmp(name, "counter") == 0) {
		fputs(name, file);
	} else if (strcmp(name, "lookup") == 0) {
		fprintf(file, "lookup %s", nftnl_expr_get_str(expr, NFTNL_EXPR_LOOKUP_SET));
	} else if (strcmp(name, "range") == 0) {
		from = nftnl_expr_get(expr, NFTNL_EXPR_RANGE_FROM_DATA, &from_size);
		to = nftnl_expr_get(expr, NFTNL_EXPR_RANGE_TO_DATA, &to_size);
		print_range(from, from_size, to, to_size, file);
	} else {
		if (nftnl_expr_snprintf(text, sizeof(text), expr, NFTNL_OUTPUT_DEFAULT, 0) < 0)
			text[0] = '\0';
		fprintf(file, "%s %s", name, text);
	}
	putc('\n', file);
}

/* The expressions as text that is the same for the same meaning; NULL: no memory. */
static char *canonical(const struct expressions *all)
{
	char *text = NULL;
	size_t size;
	FILE *file = open_memstream(&text, &size);

	if (file == NULL)
		return NULL;
	for (size_t i = 0; i < all->count; i++) {
		uint32_t from_size = 0, to_size = 0;
		const void *from, *to;

		if (i + 1 == all->count || !is_bound(all->items[i], NFT_CMP_GTE) ||
		    !is_bound(all->items[i + 1], NFT_CMP_LTE)) {
			print_expression(all->items[i], file);
			continue;
		}
		from = nftnl_expr_get(all->items[i], NFTNL_EXPR_CMP_DATA, &from_size);
		to = nftnl_expr_get(all->items[++i], NFTNL_EXPR_CMP_DATA, &to_size);
		print_range(from, from_size, to, to_size, file);
		putc('\n', file);
	}
	if (fclose(file) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

static bool same_rule(struct nftnl_rule *wanted, struct nftnl_rule *live)
{
	const char *a = live_comment(wanted), *b = live_comment(live);
	struct expressions x = {.count = 0}, y = {.count = 0};
	cleanup_free char *wanted_text = NULL, *live_text = NULL;

	if (strcmp(a ? a : "", b ? b : "") != 0 ||
	    nftnl_expr_foreach(wanted, collect_expression, &x) < 0 ||
	    nftnl_expr_foreach(live, collect_expression, &y) < 0)
		return false;
	wanted_text = canonical(&x);
	live_text = canonical(&y);
	return wanted_text != NULL && live_text != NULL && strcmp(wanted_text, live_text) == 0;
}

/* The rules of one chain, wanted and live, and which of them have found each other. */
struct pairing {
	struct nftnl_rule **wanted, **live;
	bool *found, *live_found;
	size_t count, live_count;
};

static void pairing_deinit(struct pairing *pairing)
{
	for (size_t i = 0; pairing->wanted != NULL && i < pairing->count; i++) {
		if (pairing->wanted[i] != NULL)
			nftnl_rule_free(pairing->wanted[i]);
	}
	free(pairing->wanted);
	free(pairing->live);
	free(pairing->found);
	free(pairing->live_found);
}

static int pairing_init(struct pairing *pairing, const struct table *table,
			const struct chain *chain, const struct live_table *live)
{
	*pairing = (struct pairing){.count = chain->rule_count};
	pairing->wanted = calloc(chain->rule_count + 1, sizeof(*pairing->wanted));
	pairing->live = calloc(live->rule_count + 1, sizeof(*pairing->live));
	pairing->found = calloc(chain->rule_count + 1, sizeof(bool));
	pairing->live_found = calloc(live->rule_count + 1, sizeof(bool));
	if (pairing->wanted == NULL || pairing->live == NULL || pairing->found == NULL ||
	    pairing->live_found == NULL)
		return -ENOMEM;
	for (size_t i = 0; i < live->rule_count; i++) {
		if (strcmp(nftnl_rule_get_str(live->rules[i], NFTNL_RULE_CHAIN), chain->name) == 0)
			pairing->live[pairing->live_count++] = live->rules[i];
	}
	for (size_t i = 0; i < chain->rule_count; i++) {
		pairing->wanted[i] = object_rule(table, chain, &chain->rules[i]);
		if (pairing->wanted[i] == NULL)
			return -ENOMEM;
	}
	return 0;
}

/* True when both are the same row of rules. */
static bool pair_up(struct pairing *pairing)
{
	bool same = pairing->count == pairing->live_count;

	for (size_t i = 0; i < pairing->count; i++) {
		for (size_t j = 0; j < pairing->live_count && !pairing->found[i]; j++) {
			if (pairing->live_found[j] ||
			    !same_rule(pairing->wanted[i], pairing->live[j]))
				continue;
			pairing->found[i] = pairing->live_found[j] = true;
			same = same && i == j;
		}
		same = same && pairing->found[i];
	}
	return same;
}

static int compare_rules(struct difference *difference, size_t at)
{
	const struct chain *chain = &difference->wanted->chains[at];
	struct pairing pairing;
	size_t said = difference->line_count;
	int error = pairing_init(&pairing, difference->wanted, chain, difference->live);

	if (error == 0 && !pair_up(&pairing)) {
		difference->new_rules[at] = true;
		for (size_t i = 0; i < pairing.live_count && error == 0; i++) {
			if (!pairing.live_found[i])
				error = say_live_rule(difference, pairing.live[i]);
		}
		for (size_t i = 0; i < pairing.count && error == 0; i++) {
			if (!pairing.found[i])
				error = say_rule(difference, chain->name, &chain->rules[i]);
		}
		if (error == 0 && difference->line_count == said)
			error = say(difference, '-', "chain %s: another order of its rules",
				    chain->name);
	}
	pairing_deinit(&pairing);
	return error;
}

/* --- chains ----------------------------------------------------------------------------- */

static bool same_hook(const struct chain *chain, const struct nftnl_chain *live)
{
	bool based = nftnl_chain_is_set(live, NFTNL_CHAIN_HOOKNUM);

	if (chain->hook == NULL || !based)
		return chain->hook == NULL && !based;
	return nftnl_chain_get_u32(live, NFTNL_CHAIN_HOOKNUM) == chain->hook->number &&
	       nftnl_chain_get_s32(live, NFTNL_CHAIN_PRIO) == chain->hook->priority &&
	       strcmp(nftnl_chain_get_str(live, NFTNL_CHAIN_TYPE), chain->hook->type) == 0;
}

static int say_chain(struct difference *difference, const struct chain *chain)
{
	if (chain->hook == NULL)
		return say(difference, '+', "chain %s", chain->name);
	return say(difference, '+', "chain %s { type %s hook %s priority %s }", chain->name,
		   chain->hook->type, chain->hook->name, chain->hook->priority_name);
}

static int compare_chain(struct difference *difference, size_t at)
{
	const struct chain *chain = &difference->wanted->chains[at];
	int error = 0;

	for (size_t i = 0; i < difference->live->chain_count; i++) {
		const struct nftnl_chain *live = difference->live->chains[i];

		if (strcmp(nftnl_chain_get_str(live, NFTNL_CHAIN_NAME), chain->name) != 0)
			continue;
		if (same_hook(chain, live)) {
			if (chain->hook != NULL &&
			    nftnl_chain_get_u32(live, NFTNL_CHAIN_POLICY) != NF_ACCEPT)
				error = say(difference, '-', "chain %s: policy drop", chain->name);
			return error == 0 ? compare_rules(difference, at) : error;
		}
		difference->stale_chains[i] = true;
		error = say(difference, '-', "chain %s: at another hook", chain->name);
	}
	difference->new_rules[at] = true;
	if (error == 0)
		error = say_chain(difference, chain);
	for (size_t i = 0; i < chain->rule_count && error == 0; i++)
		error = say_rule(difference, chain->name, &chain->rules[i]);
	return error;
}

/* --- what is there and not wanted ------------------------------------------------------- */

static int find_stale(struct difference *difference)
{
	const struct live_table *live = difference->live;
	int error = 0;

	for (size_t i = 0; i < live->chain_count && error == 0; i++) {
		const char *name = nftnl_chain_get_str(live->chains[i], NFTNL_CHAIN_NAME);

		if (table_find_chain(difference->wanted, name) != NULL)
			continue;
		difference->stale_chains[i] = true;
		error = say(difference, '-', "chain %s", name);
	}
	for (size_t i = 0; i < live->set_count && error == 0; i++) {
		const char *name = nftnl_set_get_str(live->sets[i], NFTNL_SET_NAME);

		/* A set without a name of its own goes with the rule that it belongs to. */
		if (nftnl_set_get_u32(live->sets[i], NFTNL_SET_FLAGS) & NFT_SET_ANONYMOUS ||
		    table_find_set(difference->wanted, name) != NULL)
			continue;
		difference->stale_sets[i] = true;
		error = say(difference, '-', "set %s", name);
	}
	return error;
}

/* Nobody's business in our tables. */
static int say_objects(struct difference *difference)
{
	const struct live_table *live = difference->live;
	int error = 0;

	for (size_t i = 0; i < live->object_count && error == 0; i++)
		error = say(difference, '-', "named object %s",
			    nftnl_obj_get_str(live->objects[i], NFTNL_OBJ_NAME));
	for (size_t i = 0; i < live->flowtable_count && error == 0; i++)
		error = say(difference, '-', "flowtable %s",
			    nftnl_flowtable_get_str(live->flowtables[i], NFTNL_FLOWTABLE_NAME));
	return error;
}

static bool any(const bool *flags, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (flags[i])
			return true;
	}
	return false;
}

static int compare_tables(struct difference *difference)
{
	const struct table *wanted = difference->wanted;
	const struct live_table *live = difference->live;
	int error = 0;

	if (!live->exists)
		error = say(difference, '+', "table inet %s", difference->name);
	else if (live->flags & NFT_TABLE_F_DORMANT)
		error = say(difference, '-', "flags dormant: the whole table is switched off");
	for (size_t i = 0; i < wanted->set_count && error == 0; i++)
		error = compare_set(difference, i);
	for (size_t i = 0; i < wanted->chain_count && error == 0; i++)
		error = compare_chain(difference, i);
	if (error == 0)
		error = find_stale(difference);
	if (error == 0)
		error = say_objects(difference);
	if (live->object_count > 0 || live->flowtable_count > 0 ||
	    any(difference->stale_chains, live->chain_count) ||
	    any(difference->stale_sets, live->set_count))
		memset(difference->new_rules, true, wanted->chain_count);
	return error;
}

int difference_find(const char *name, const struct table *wanted, const struct live_table *live,
		    struct difference *difference)
{
	*difference = (struct difference){.name = name, .wanted = wanted, .live = live};
	if (wanted == NULL)
		return live->exists ? say(difference, '-', "table inet %s", name) : 0;
	difference->new_rules = calloc(wanted->chain_count + 1, sizeof(bool));
	difference->new_elements = calloc(wanted->set_count + 1, sizeof(bool));
	difference->stale_chains = calloc(live->chain_count + 1, sizeof(bool));
	difference->stale_sets = calloc(live->set_count + 1, sizeof(bool));
	if (difference->new_rules == NULL || difference->new_elements == NULL ||
	    difference->stale_chains == NULL || difference->stale_sets == NULL)
		return -ENOMEM;
	return compare_tables(difference);
}

void difference_deinit(struct difference *difference)
{
	for (size_t i = 0; i < difference->line_count; i++)
		free(difference->lines[i].text);
	free(difference->lines);
	free(difference->new_rules);
	free(difference->new_elements);
	free(difference->stale_chains);
	free(difference->stale_sets);
	*difference = (struct difference){0};
}

void difference_print(const struct difference *difference, FILE *file)
{
	if (difference->line_count == 0)
		return;
	fprintf(file, "table inet %s\n", difference->name);
	for (size_t i = 0; i < difference->line_count; i++)
		fprintf(file, "%c %s\n", difference->lines[i].sign, difference->lines[i].text);
}

json_t *difference_json(const struct difference *difference)
{
	json_t *array = json_array();

	for (size_t i = 0; i < difference->line_count; i++)
		json_array_append_new(
			array, json_pack("{s:s, s:s, s:s}", "table", difference->name, "change",
					 difference->lines[i].sign == '+' ? "add" : "remove",
					 "what", difference->lines[i].text));
	return array;
}

/* --- into a transaction ----------------------------------------------------------------- */

static int declare_table(const struct difference *difference, struct batch *batch)
{
	struct nlmsghdr *message =
		batch_add(batch, NFT_MSG_NEWTABLE, NLM_F_CREATE, "table inet %s", difference->name);
	struct nftnl_table *table = message ? object_table(difference->wanted) : NULL;

	if (table == NULL)
		return -ENOMEM;
	nftnl_table_nlmsg_build_payload(message, table);
	nftnl_table_free(table);
	return 0;
}

/* NFT_MSG_DELTABLE, DELRULE (all of a chain), DELCHAIN, DELSET. */
static void add_deletion(const struct difference *difference, struct batch *batch, uint16_t type,
			 const char *what, const char *name)
{
	struct nlmsghdr *message =
		batch_add(batch, type, 0, "%s %s of table inet %s", what, name, difference->name);

	_Static_assert(NFTA_RULE_CHAIN == 2 && NFTA_SET_NAME == 2 && NFTA_SET_ELEM_LIST_SET == 2 &&
			       NFTA_CHAIN_NAME == 3,
		       "where the name goes");
	if (message == NULL)
		return;
	mnl_attr_put_strz(message, NFTA_TABLE_NAME, difference->name);
	if (type != NFT_MSG_DELTABLE)
		mnl_attr_put_strz(message,
				  type == NFT_MSG_DELCHAIN ? NFTA_CHAIN_NAME : NFTA_RULE_CHAIN,
				  name);
}

/* What no rule refers to any more. */
static void delete_objects(const struct live_table *live, struct batch *batch)
{
	for (size_t i = 0; i < live->object_count; i++) {
		const char *name = nftnl_obj_get_str(live->objects[i], NFTNL_OBJ_NAME);
		struct nlmsghdr *message =
			batch_add(batch, NFT_MSG_DELOBJ, 0, "named object %s", name);

		if (message != NULL)
			nftnl_obj_nlmsg_build_payload(message, live->objects[i]);
	}
	for (size_t i = 0; i < live->flowtable_count; i++) {
		const struct nftnl_flowtable *flowtable = live->flowtables[i];
		const char *name = nftnl_flowtable_get_str(flowtable, NFTNL_FLOWTABLE_NAME);
		struct nlmsghdr *message =
			batch_add(batch, NFT_MSG_DELFLOWTABLE, 0, "flowtable %s", name);

		if (message == NULL)
			continue;
		mnl_attr_put_strz(message, NFTA_FLOWTABLE_TABLE,
				  nftnl_flowtable_get_str(flowtable, NFTNL_FLOWTABLE_TABLE));
		mnl_attr_put_strz(message, NFTA_FLOWTABLE_NAME, name);
	}
}

static void delete_stale(const struct difference *difference, struct batch *batch)
{
	const struct live_table *live = difference->live;

	for (size_t i = 0; i < live->chain_count; i++) {
		const char *name = nftnl_chain_get_str(live->chains[i], NFTNL_CHAIN_NAME);
		const struct chain *wanted = table_find_chain(difference->wanted, name);

		if (difference->stale_chains[i] ||
		    difference->new_rules[wanted - difference->wanted->chains])
			add_deletion(difference, batch, NFT_MSG_DELRULE, "rules of chain", name);
	}
	/* Sets first: the elements of a map may lead to chains. */
	for (size_t i = 0; i < live->set_count; i++) {
		if (difference->stale_sets[i])
			add_deletion(difference, batch, NFT_MSG_DELSET, "set",
				     nftnl_set_get_str(live->sets[i], NFTNL_SET_NAME));
	}
	for (size_t i = 0; i < live->chain_count; i++) {
		if (difference->stale_chains[i])
			add_deletion(difference, batch, NFT_MSG_DELCHAIN, "chain",
				     nftnl_chain_get_str(live->chains[i], NFTNL_CHAIN_NAME));
	}
	delete_objects(live, batch);
}

/* As many messages as it takes: an attribute holds 64 KiB. */
static void send_elements(const struct difference *difference, struct batch *batch,
			  const struct nftnl_set *set, uint16_t type, const char *name)
{
	struct nftnl_set_elems_iter *iterator = nftnl_set_elems_iter_create(set);
	uint16_t flags = type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0;
	struct nlmsghdr *message = NULL;
	int more = 1;

	while (iterator != NULL && more == 1) {
		message = batch_add(batch, type, flags, "elements of set %s of table inet %s", name,
				    difference->name);
		if (message == NULL)
			break;
		more = nftnl_set_elems_nlmsg_build_payload_iter(message, iterator);
	}
	if (iterator != NULL)
		nftnl_set_elems_iter_destroy(iterator);
}

static struct nftnl_set *live_set(const struct difference *difference, const char *name)
{
	for (size_t i = 0; i < difference->live->set_count; i++) {
		if (!difference->stale_sets[i] &&
		    strcmp(nftnl_set_get_str(difference->live->sets[i], NFTNL_SET_NAME), name) == 0)
			return difference->live->sets[i];
	}
	return NULL;
}

/* What leaves comes first: the new ones may lie over it. */
static int exchange_elements(const struct difference *difference, struct batch *batch,
			     struct nftnl_set *wanted, const char *name)
{
	struct nftnl_set *live = live_set(difference, name), *removed, *added;
	int error;

	if (live == NULL) {
		send_elements(difference, batch, wanted, NFT_MSG_NEWSETELEM, name);
		return 0;
	}
	error = exchange_find(live, wanted, &removed, &added);
	if (error < 0)
		return error;
	if (removed != NULL) {
		send_elements(difference, batch, removed, NFT_MSG_DELSETELEM, name);
		nftnl_set_free(removed);
	}
	if (added != NULL) {
		send_elements(difference, batch, added, NFT_MSG_NEWSETELEM, name);
		nftnl_set_free(added);
	}
	return 0;
}

static int write_set(const struct difference *difference, struct batch *batch, size_t at)
{
	const struct set *set = &difference->wanted->sets[at];
	struct nlmsghdr *message =
		batch_add(batch, NFT_MSG_NEWSET, NLM_F_CREATE, "set %s of table inet %s", set->name,
			  difference->name);
	struct nftnl_set *made =
		message ? object_set(difference->wanted, set, (uint32_t)at + 1) : NULL;
	int error = 0;

	if (made == NULL)
		return -ENOMEM;
	nftnl_set_nlmsg_build_payload(message, made);
	if (difference->new_elements[at] &&
	    (set->element_count > 0 || live_set(difference, set->name) != NULL))
		error = exchange_elements(difference, batch, made, set->name);
	nftnl_set_free(made);
	return error;
}

static int write_chain(const struct difference *difference, struct batch *batch, size_t at)
{
	const struct chain *chain = &difference->wanted->chains[at];
	struct nlmsghdr *message =
		batch_add(batch, NFT_MSG_NEWCHAIN, NLM_F_CREATE, "chain %s of table inet %s",
			  chain->name, difference->name);
	struct nftnl_chain *made = message ? object_chain(difference->wanted, chain) : NULL;

	if (made == NULL)
		return -ENOMEM;
	nftnl_chain_nlmsg_build_payload(message, made);
	nftnl_chain_free(made);
	return 0;
}

static int write_rules(const struct difference *difference, struct batch *batch, size_t at)
{
	const struct chain *chain = &difference->wanted->chains[at];

	for (size_t i = 0; i < chain->rule_count; i++) {
		struct nlmsghdr *message =
			batch_add(batch, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND,
				  "rule %zu (%s) of chain %s of table inet %s", i + 1,
				  chain->rules[i].comment, chain->name, difference->name);
		struct nftnl_rule *made =
			message ? object_rule(difference->wanted, chain, &chain->rules[i]) : NULL;

		if (made == NULL)
			return -ENOMEM;
		nftnl_rule_nlmsg_build_payload(message, made);
		nftnl_rule_free(made);
	}
	return 0;
}

int difference_resolve(const struct difference *difference, struct batch *batch)
{
	const struct table *wanted = difference->wanted;
	int error;

	if (difference->line_count == 0)
		return 0;
	if (wanted == NULL) {
		add_deletion(difference, batch, NFT_MSG_DELTABLE, "all", "");
		return 0;
	}
	error = declare_table(difference, batch);
	if (error == 0)
		delete_stale(difference, batch);
	for (size_t i = 0; i < wanted->set_count && error == 0; i++)
		error = write_set(difference, batch, i);
	for (size_t i = 0; i < wanted->chain_count && error == 0; i++)
		error = write_chain(difference, batch, i);
	for (size_t i = 0; i < wanted->chain_count && error == 0; i++) {
		if (difference->new_rules[i])
			error = write_rules(difference, batch, i);
	}
	return error;
}
