/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works: a walk over the tokens along the option tables, one function per form. libconfuse
 * ends at its first fault; so it is given only what is known to be right, and here every fault is
 * one message, after which reading goes on:
 *
 *   - a name that is nearly known is taken for what it was meant to be, so that what it holds is
 *     judged and nobody misses it; any other unknown name is skipped with its value or block;
 *   - what is missing (=, a comma, a brace, a title, a value) is taken as if it were there;
 *   - else everything is skipped up to the next token that can only begin a statement
 *     (starts_statement()) or to the end of the section.
 *
 * A token of kind FAULT has had its message: it may stand where a value or title is wanted, and
 * is passed over in silence anywhere else.
 */
#include "config/config_syntax.h"

#include "base/error.h"
#include "config/config_guess.h"
#include "config/config_text.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define FORMS "expected NAME = VALUE, NAME = { VALUE, ... } or SECTION \"TITLE\" { ... }"

struct walk {
	const struct config_token *at;
	struct config_report *report;
	FILE *out;
	int line;        /* of out */
	size_t sections; /* written so far */
	bool cut;
};

/* An open section. */
struct level {
	const struct config_section *section;
	const struct level *outer; /* NULL: the file itself */
	int line;                  /* of its brace */
	unsigned int braces;       /* opened for nothing */
	uint64_t seen;             /* options, and behind them sections, that stood here */
};

/* What a name stands for; at most one is set. */
struct meaning {
	const struct config_option *option;
	const struct config_section *section;
};

__attribute__((format(printf, 3, 4))) static void emit(struct walk *walk, int line,
						       const char *format, ...)
{
	va_list arguments;

	for (; walk->line < line; walk->line++)
		fputc('\n', walk->out);
	va_start(arguments, format);
	vfprintf(walk->out, format, arguments);
	va_end(arguments);
}

/* --- what stands here ----------------------------------------------------------------------- */

static bool is_value(const struct config_token *token)
{
	return token->kind == CONFIG_TOKEN_WORD || token->kind == CONFIG_TOKEN_STRING ||
	       token->kind == CONFIG_TOKEN_FAULT;
}

static bool is_called(const struct config_token *token, const char *name)
{
	return strlen(name) == (size_t)token->length &&
	       memcmp(token->text, name, strlen(name)) == 0;
}

static struct meaning look_up(const struct config_section *section,
			      const struct config_token *token)
{
	for (size_t i = 0; i < section->option_count; i++) {
		if (is_called(token, section->options[i].name))
			return (struct meaning){.option = &section->options[i]};
	}
	for (size_t i = 0; i < section->section_count; i++) {
		if (is_called(token, section->sections[i].name))
			return (struct meaning){.section = &section->sections[i]};
	}
	return (struct meaning){NULL, NULL};
}

/* `{` or `TITLE {` */
static bool is_block(const struct config_token *at)
{
	return at->kind == '{' || (is_value(at) && at[1].kind == '{');
}

/* Whether this can be nothing but the beginning of a statement. Never true of a right value. */
static bool starts_statement(const struct config_section *section, const struct config_token *at)
{
	const struct config_section *inner;

	if (at->kind != CONFIG_TOKEN_WORD)
		return false;
	/* In `plc = p limits { }` p is a value, in `plc p { }` it is not. */
	inner = look_up(section, at).section;
	if (at[1].kind == CONFIG_TOKEN_WORD)
		return inner && inner->title && at[2].kind == '{';
	return at[1].kind == '=' || is_block(at + 1);
}

/* The same for a statement of this very section. */
static bool starts_known(const struct config_section *section, const struct config_token *at)
{
	struct meaning meaning = look_up(section, at);

	return (meaning.option || meaning.section) && starts_statement(section, at);
}

/* A section of an outer level begins here: the } of this one was forgotten. */
static bool belongs_outside(const struct level *level, const struct config_token *at)
{
	if (!is_block(at + 1) || look_up(level->section, at).section)
		return false;
	for (level = level->outer; level; level = level->outer) {
		if (look_up(level->section, at).section)
			return true;
	}
	return false;
}

/* --- stepping over faults ------------------------------------------------------------------- */

/* What stands behind a { without } is read on. */
static void skip_block(struct walk *walk, bool told)
{
	const struct config_token *open = walk->at;

	if (open->block == 0)
		config_report_error(walk->report, open->line,
				    "this { is never closed, expected } before the end of the "
				    "file");
	else if (!told)
		config_report_error(walk->report, open->line,
				    "what stands in this { } was not read, expected it behind the "
				    "name of an option or section");
	walk->at += open->block + 1;
}

/* Where reading may go on: a statement, or at least a word that begins a line. */
static bool is_resumable(const struct level *level, const struct config_token *at)
{
	bool continued = at[-1].kind == '=' || at[-1].kind == ',';

	if (at->kind == CONFIG_TOKEN_END || at->kind == '}' || starts_statement(level->section, at))
		return true;
	return at->kind == CONFIG_TOKEN_WORD && at->line > at[-1].line && !continued;
}

/* Never at the first token. */
static void recover(struct walk *walk, const struct level *level)
{
	while (!is_resumable(level, walk->at)) {
		if (walk->at->kind == '{')
			skip_block(walk, false);
		else
			walk->at++;
	}
}

/* Behind a name that means nothing. */
static void skip_unknown(struct walk *walk, const struct level *level)
{
	walk->at += walk->at->kind == '=';
	walk->at += is_value(walk->at) && is_block(walk->at);
	if (walk->at->kind == '{')
		skip_block(walk, true);
	recover(walk, level);
}

static void report_unexpected(struct walk *walk, const char *expected)
{
	config_report_error(walk->report, walk->at->line, "unexpected '%.*s', %s", walk->at->length,
			    walk->at->text, expected);
}

/* Says what the name is not, and finds what it was meant to be. */
static struct meaning guess(struct walk *walk, const struct level *level,
			    const struct config_token *name)
{
	bool block = is_block(name + 1);
	bool closed = block && (name[1].block > 0 || name[2].block > 0);
	const char *kind = block ? "section" : "option";
	const char *skipped = "";
	const char *where = level->section->name;
	char text[64]; /* a longer name is like none */
	const char *close;
	const char *owner;
	struct meaning meaning = {NULL, NULL};

	snprintf(text, sizeof(text), "%.*s", name->length, name->text);
	close = config_guess_name(level->section, text);
	owner = config_guess_owner(text);
	if (close)
		meaning = look_up(level->section, &(struct config_token){
							  .text = close,
							  .length = (int)strlen(close),
						  });
	if (block)
		meaning.option = NULL;
	if (closed && !meaning.section)
		skipped = " (what stands in it was not read)";
	if (close)
		config_report_error(walk->report, name->line,
				    "%s has no %s '%s', expected '%s' perhaps%s", where, kind, text,
				    close, skipped);
	else if (owner)
		config_report_error(walk->report, name->line,
				    "%s has no %s '%s', expected it in %s%s", where, kind, text,
				    owner, skipped);
	else
		config_report_error(walk->report, name->line,
				    "%s has no %s '%.*s', expected one of the manual's%s", where,
				    kind, name->length, name->text, skipped);
	return meaning;
}

/* --- options -------------------------------------------------------------------------------- */

static void take_value(struct walk *walk)
{
	const struct config_token *value = walk->at++;

	if (value->kind == CONFIG_TOKEN_FAULT)
		emit(walk, value->line, "\"" CONFIG_SYNTAX_REFUSED "\", ");
	else
		emit(walk, value->line, "\"%.*s\", ", value->length, value->text);
}

/* `workers = log_level = info` lacks a value, and so it does with a line end in between. */
static bool has_value(const struct walk *walk, const struct level *level)
{
	const struct config_token *at = walk->at;

	if (at->kind != CONFIG_TOKEN_WORD)
		return at->kind == '{' || is_value(at);
	if (at->line > at[-1].line)
		return !starts_statement(level->section, at);
	return at[1].kind != '=';
}

/* One token of a list, behind its {. `*comma`: a value may stand here. The number of values. */
static unsigned int read_item(struct walk *walk, bool *comma)
{
	const struct config_token *at = walk->at;

	/* In "a"; "b" the fault stands for the comma. */
	if (!*comma && (at->kind == ',' || at->kind == CONFIG_TOKEN_FAULT)) {
		*comma = true;
		walk->at++;
	} else if (is_value(at)) {
		if (!*comma)
			report_unexpected(walk, "expected a comma before it or }");
		*comma = false;
		take_value(walk);
		return 1;
	} else if (at->kind == '{') {
		skip_block(walk, false);
	} else {
		report_unexpected(walk, "expected a value or }");
		walk->at++;
	}
	return 0;
}

static unsigned int read_list(struct walk *walk, const struct level *level)
{
	const struct config_token *open = walk->at++;
	unsigned int count = 0;
	bool comma = true;

	while (walk->at->kind != '}') {
		if (walk->at->kind == CONFIG_TOKEN_END ||
		    starts_statement(level->section, walk->at)) {
			config_report_error(walk->report, open->line,
					    "this { is never closed, expected } behind the last "
					    "value");
			return count;
		}
		count += read_item(walk, &comma);
	}
	walk->at++;
	return count;
}

/* The number of values, without braces. */
static unsigned int read_bare(struct walk *walk, const struct level *level,
			      const struct config_option *option)
{
	int first = walk->at->line;
	unsigned int count = 1;

	take_value(walk);
	while (walk->at->kind == ',' && is_value(walk->at + 1) &&
	       !starts_statement(level->section, walk->at + 1)) {
		walk->at++;
		take_value(walk);
		count++;
	}
	if (count > 1 && option->list)
		config_report_error(walk->report, first,
				    "%s has several values without braces, expected %s = { VALUE, "
				    "... }",
				    option->name, option->name);
	return count;
}

static void read_values(struct walk *walk, const struct level *level,
			const struct config_option *option)
{
	int first = walk->at->line;
	unsigned int count;

	if (walk->at->kind == '{')
		count = read_list(walk, level);
	else
		count = read_bare(walk, level, option);
	if (option->list || count == 1)
		return;
	if (count == 0)
		emit(walk, first, "\"" CONFIG_SYNTAX_REFUSED "\"");
	config_report_error(walk->report, first, "%s has %u values, expected one", option->name,
			    count);
}

static void read_option(struct walk *walk, const struct level *level,
			const struct config_option *option)
{
	int first = walk->at[-1].line;
	bool equal = walk->at->kind == '=';
	bool value;

	walk->at += equal;
	value = has_value(walk, level);
	if (!value || !equal)
		config_report_error(walk->report, first, "%s has no %s, expected %s = %s",
				    option->name, value ? "=" : "value", option->name,
				    option->list ? "{ VALUE, ... }" : "VALUE");
	emit(walk, first, "%s += { ", option->name);
	if (value)
		read_values(walk, level, option);
	else
		emit(walk, first, "\"" CONFIG_SYNTAX_REFUSED "\"");
	emit(walk, first, "} ");
	if (!value)
		recover(walk, level);
}

/* --- sections ------------------------------------------------------------------------------- */

static void read_body(struct walk *walk, struct level *level);

/* A title, wanted or not; NULL: none stands here. */
static const struct config_token *read_title(struct walk *walk,
					     const struct config_section *section)
{
	const struct config_token *at = walk->at;

	if (!is_value(at) || (!is_block(at) && starts_known(section, at)))
		return NULL;
	walk->at++;
	return at;
}

/* Steps over the opening brace and what stands before it, also over one that is missing. */
static bool open_body(struct walk *walk, struct level *level)
{
	const struct config_section *section = level->section;
	const struct config_token *at = walk->at;

	if (at->kind != '{')
		config_report_error(walk->report, level->line,
				    "%s has no { here, expected %s%s { ... }", section->name,
				    section->name, section->title ? " \"TITLE\"" : "");
	if (starts_known(section, at))
		return true;
	while (at->kind != '{' && at->kind != '}' && at->kind != CONFIG_TOKEN_END &&
	       at->line == walk->at[-1].line)
		at++;
	if (at->kind != '{')
		return false;
	level->line = at->line;
	walk->at = at + 1;
	return true;
}

static void emit_heading(struct walk *walk, int line, const struct config_section *section,
			 const struct config_token *title)
{
	emit(walk, line, "%s \"%zu %d ", section->name, walk->sections++, line);
	if (section->title && (!title || title->kind == CONFIG_TOKEN_FAULT))
		emit(walk, line, CONFIG_SYNTAX_REFUSED);
	else if (section->title)
		emit(walk, line, "%.*s", title->length, title->text);
	emit(walk, line, "\" { ");
}

static void read_section(struct walk *walk, const struct level *outer,
			 const struct config_section *section)
{
	int first = walk->at[-1].line;
	struct level level = {.section = section, .outer = outer, .line = first};
	const struct config_token *title;

	if (walk->at->kind == '=' && is_block(walk->at + 1)) {
		config_report_error(walk->report, first, "%s is a section, expected no = behind it",
				    section->name);
		walk->at++;
	}
	title = read_title(walk, section);
	if (!open_body(walk, &level)) {
		recover(walk, outer);
		return;
	}
	if (!title != !section->title)
		config_report_error(walk->report, first, "%s has %s title, expected %s%s { ... }",
				    section->name, title ? "a" : "no", section->name,
				    title ? "" : " \"TITLE\"");
	emit_heading(walk, first, section, title);
	read_body(walk, &level);
	emit(walk, walk->line, "} ");
}

/* --- statements ----------------------------------------------------------------------------- */

/* What may stand once only, for the first time or again. */
static void note(struct walk *walk, struct level *level, const struct meaning *meaning, int line)
{
	const struct config_section *section = level->section;
	size_t index = meaning->option ? (size_t)(meaning->option - section->options)
				       : section->option_count +
						 (size_t)(meaning->section - section->sections);
	uint64_t bit = UINT64_C(1) << index;

	if (level->seen & bit && meaning->option)
		config_report_error(walk->report, line,
				    "%s is set a second time in this section, expected once",
				    meaning->option->name);
	else if (level->seen & bit && !meaning->section->title)
		config_report_error(walk->report, line,
				    "%s stands here a second time, expected once",
				    meaning->section->name);
	level->seen |= bit;
}

static void read_statement(struct walk *walk, struct level *level)
{
	const struct config_token *name = walk->at;
	struct meaning meaning = look_up(level->section, name);

	if (meaning.option || meaning.section)
		note(walk, level, &meaning, name->line);
	else
		meaning = guess(walk, level, name);
	walk->at++;
	if (walk->at->kind == CONFIG_TOKEN_FAULT && walk->at[1].kind == '=')
		walk->at++; /* the + of += */
	if (meaning.section)
		read_section(walk, level, meaning.section);
	else if (meaning.option)
		read_option(walk, level, meaning.option);
	else
		skip_unknown(walk, level);
}

/* True: the section has ended. */
static bool end_body(struct walk *walk, const struct level *level)
{
	const struct config_token *at = walk->at;

	if (at->kind == '}' && level->braces > 0)
		return false;
	if (level->outer && at->kind == '}') {
		walk->at++;
		return true;
	}
	if (level->outer && at->kind == CONFIG_TOKEN_WORD && belongs_outside(level, at)) {
		config_report_error(walk->report, level->line,
				    "this { is never closed, expected } before '%.*s' in line %d",
				    at->length, at->text, at->line);
		return true;
	}
	if (level->outer && at->kind == CONFIG_TOKEN_END && !walk->cut)
		config_report_error(walk->report, level->line,
				    "this { is never closed, expected } before the end of the "
				    "file");
	return at->kind == CONFIG_TOKEN_END;
}

/*
 * A token that begins no statement. A { too many is counted, so that its }, if it has one, does
 * not end the section.
 */
static void read_misplaced(struct walk *walk, struct level *level)
{
	char kind = walk->at->kind;

	if (kind == '}' && level->braces > 0)
		level->braces--;
	else if (kind == '}')
		config_report_error(walk->report, walk->at->line,
				    "this } closes nothing, expected an option");
	else if (kind != CONFIG_TOKEN_FAULT)
		report_unexpected(walk, FORMS);
	level->braces += kind == '{';
	walk->at++;
	if (kind != '{' && kind != '}')
		recover(walk, level);
}

/* Recursion is bounded by the depth of the option tables. */
static void read_body(struct walk *walk, struct level *level)
{
	while (!end_body(walk, level)) {
		if (walk->at->kind == CONFIG_TOKEN_WORD)
			read_statement(walk, level);
		else
			read_misplaced(walk, level);
	}
}

static void read_file(struct walk *walk)
{
	struct level level = {.section = &config_root};

	read_body(walk, &level);
}

static int write_anew(const struct config_tokens *tokens, struct config_report *report,
		      struct config_syntax *syntax)
{
	size_t size;
	struct walk walk = {.at = tokens->items, .report = report, .line = 1, .cut = tokens->cut};
	bool failed;

	walk.out = open_memstream(&syntax->text, &size);
	if (!walk.out)
		return -ENOMEM;
	read_file(&walk);
	failed = ferror(walk.out);
	syntax->cut = walk.cut;
	/* Without memory for the stream's first buffer glibc says nothing, and there is no text. */
	return fclose(walk.out) != 0 || failed || !syntax->text ? -ENOMEM : 0;
}

int config_syntax_read(const char *text, struct config_report *report, struct config_syntax *syntax)
{
	struct config_tokens tokens = {0};
	int error = config_text_read(text, report, &tokens);

	if (error == 0)
		error = write_anew(&tokens, report, syntax);
	free(tokens.items);
	return error;
}
