/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "print.h"

#include "set_type.h"
#include "statement.h"

#include <string.h>

/* --- for nft -f ------------------------------------------------------------------------- */

static void print_set_declaration(const struct set *set, FILE *file)
{
	fprintf(file, "\tset %s {\n\t\ttype %s\n", set->name, set->type->name);
	if (set->type->interval)
		fputs("\t\tflags interval\n", file);
	fprintf(file, "\t\tcomment \"%s\"\n\t}\n\n", set->comment);
}

static void print_elements(const struct table *table, const struct set *set, FILE *file)
{
	if (set->element_count == 0)
		return;
	fprintf(file, "add element inet %s %s {\n", table->name, set->name);
	for (size_t i = 0; i < set->element_count; i++) {
		putc('\t', file);
		element_print(set->type, &set->elements[i], file);
		if (set->elements[i].comment != NULL)
			fprintf(file, " comment \"%s\"", set->elements[i].comment);
		fputs(i + 1 < set->element_count ? ",\n" : "\n", file);
	}
	fputs("}\n", file);
}

static void print_chain(const struct chain *chain, FILE *file)
{
	fprintf(file, "\tchain %s {\n", chain->name);
	if (chain->hook != NULL)
		fprintf(file, "\t\ttype %s hook %s priority %s; policy accept;\n",
			chain->hook->type, chain->hook->name, chain->hook->priority_name);
	for (size_t i = 0; i < chain->rule_count; i++) {
		fputs("\t\t", file);
		rule_print(&chain->rules[i], file);
		fprintf(file, " comment \"%s\"\n", chain->rules[i].comment);
	}
	fputs("\t}\n\n", file);
}

static void print_table(const struct table *table, FILE *file)
{
	fprintf(file,
		"\n# Declared, emptied, filled: never deleted and made again, which would let "
		"single\n"
		"# packets pass.\n\ntable inet %s {\n\tcomment \"%s\"\n\n",
		table->name, table->comment);
	for (size_t i = 0; i < table->set_count; i++)
		print_set_declaration(&table->sets[i], file);
	fprintf(file, "}\n\nflush table inet %s\n", table->name);
	for (size_t i = 0; i < table->set_count; i++)
		fprintf(file, "flush set inet %s %s\n", table->name, table->sets[i].name);
	for (size_t i = 0; i < table->set_count; i++)
		print_elements(table, &table->sets[i], file);
	fprintf(file, "\ntable inet %s {\n", table->name);
	for (size_t i = 0; i < table->chain_count; i++)
		print_chain(&table->chains[i], file);
	fputs("}\n", file);
}

static void print_head(const struct plan *plan, bool guard_only, FILE *file)
{
	fprintf(file, "#!/usr/sbin/nft -f\n#\n# Made by `mcseal-nft print%s`.\n",
		guard_only ? " --guard" : "");
	if (plan->observe)
		fputs("# OBSERVING: counts and logs what the rules would block or redirect, and "
		      "does\n"
		      "# nothing else. Protects nothing.\n",
		      file);
	fputs("#\n# inet mcseal_guard  what is for a PLC does not leave this machine in plain. "
	      "Belongs\n"
	      "#                    into the machine's own boot configuration.\n",
	      file);
	if (!guard_only)
		fputs("# inet mcseal        brings connections to mcseald, admits its clients.\n",
		      file);
}

/* nft has no word for it: ip(8) does this. */
static void print_divert(const struct plan *plan, const struct config *config, FILE *file)
{
	const struct config_nft *nft = &config->nft;

	if (!plan->divert4 && !plan->divert6)
		return;
	fputs("#\n# TPROXY needs these as well; `mcseal-nft apply` makes them:\n", file);
	for (int i = 0; i < 2; i++) {
		const char *family = i == 0 ? "-4" : "-6";

		if (!(i == 0 ? plan->divert4 : plan->divert6))
			continue;
		fprintf(file,
			"#   ip %s rule add fwmark 0x%08x lookup %u\n"
			"#   ip %s route add local default dev lo table %u\n",
			family, nft->divert_mark, nft->route_table, family, nft->route_table);
	}
}

void print_plan(const struct plan *plan, const struct config *config, bool guard_only, FILE *file)
{
	print_head(plan, guard_only, file);
	if (!guard_only)
		print_divert(plan, config, file);
	for (size_t i = 0; i < plan->ruleset.table_count; i++) {
		const struct table *table = &plan->ruleset.tables[i];

		if (!guard_only || strcmp(table->name, TABLE_GUARD) == 0)
			print_table(table, file);
	}
}

/* --- for nft -j -f ---------------------------------------------------------------------- */

static void add_command(json_t *commands, const char *verb, const char *what, json_t *object)
{
	json_array_append_new(commands, json_pack("{s:{s:o}}", verb, what, object));
}

static json_t *set_json(const struct table *table, const struct set *set)
{
	json_t *object = json_pack("{s:s, s:s, s:s, s:s}", "family", "inet", "table", table->name,
				   "name", set->name, "comment", set->comment);

	if (set->type->json[1] != NULL)
		json_object_set_new(object, "type",
				    json_pack("[s, s]", set->type->json[0], set->type->json[1]));
	else
		json_object_set_new(object, "type", json_string(set->type->json[0]));
	if (set->type->interval)
		json_object_set_new(object, "flags", json_pack("[s]", "interval"));
	return object;
}

static void add_set_commands(json_t *commands, const struct table *table, const struct set *set)
{
	json_t *elements = json_array();

	add_command(commands, "add", "set", set_json(table, set));
	add_command(commands, "flush", "set",
		    json_pack("{s:s, s:s, s:s}", "family", "inet", "table", table->name, "name",
			      set->name));
	for (size_t i = 0; i < set->element_count; i++)
		json_array_append_new(elements, element_json(set->type, &set->elements[i]));
	if (set->element_count == 0) {
		json_decref(elements);
		return;
	}
	add_command(commands, "add", "element",
		    json_pack("{s:s, s:s, s:s, s:o}", "family", "inet", "table", table->name,
			      "name", set->name, "elem", elements));
}

static json_t *chain_json(const struct table *table, const struct chain *chain)
{
	json_t *object = json_pack("{s:s, s:s, s:s}", "family", "inet", "table", table->name,
				   "name", chain->name);
	json_t *hook;

	if (chain->hook == NULL)
		return object;
	hook = json_pack("{s:s, s:s, s:i, s:s}", "type", chain->hook->type, "hook",
			 chain->hook->name, "prio", (int)chain->hook->priority, "policy", "accept");
	json_object_update(object, hook);
	json_decref(hook);
	return object;
}

static void add_rule_commands(json_t *commands, const struct table *table,
			      const struct chain *chain)
{
	for (size_t i = 0; i < chain->rule_count; i++)
		add_command(commands, "add", "rule",
			    json_pack("{s:s, s:s, s:s, s:s, s:o}", "family", "inet", "table",
				      table->name, "chain", chain->name, "comment",
				      chain->rules[i].comment, "expr",
				      rule_json(&chain->rules[i])));
}

static void add_table_commands(json_t *commands, const struct table *table)
{
	add_command(commands, "add", "table",
		    json_pack("{s:s, s:s, s:s}", "family", "inet", "name", table->name, "comment",
			      table->comment));
	add_command(commands, "flush", "table",
		    json_pack("{s:s, s:s}", "family", "inet", "name", table->name));
	for (size_t i = 0; i < table->set_count; i++)
		add_set_commands(commands, table, &table->sets[i]);
	for (size_t i = 0; i < table->chain_count; i++)
		add_command(commands, "add", "chain", chain_json(table, &table->chains[i]));
	for (size_t i = 0; i < table->chain_count; i++)
		add_rule_commands(commands, table, &table->chains[i]);
}

json_t *print_plan_json(const struct plan *plan, bool guard_only)
{
	json_t *commands = json_pack("[{s:{s:i}}]", "metainfo", "json_schema_version", 1);

	for (size_t i = 0; i < plan->ruleset.table_count; i++) {
		const struct table *table = &plan->ruleset.tables[i];

		if (!guard_only || strcmp(table->name, TABLE_GUARD) == 0)
			add_table_commands(commands, table);
	}
	return json_pack("{s:o}", "nftables", commands);
}
