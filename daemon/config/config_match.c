/* SPDX-License-Identifier: Apache-2.0 */
/* The entries of an identity's match list: "kind:value", brought into the form compared later. */
#include "base/error.h"
#include "config/config.h"
#include "config/config_value.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define SPKI_DIGITS 64 /* SHA-256 in hex */

/* Lower-case hex digits of `text` up to `end` without colons; the count, or -EINVAL. */
static int normalise_hex(const char *text, const char *end, char *digits, size_t size)
{
	size_t used = 0;

	for (; text < end; text++) {
		if (*text == ':')
			continue;
		if (!isxdigit((unsigned char)*text) || used + 1 >= size)
			return -EINVAL;
		digits[used++] = (char)tolower((unsigned char)*text);
	}
	digits[used] = '\0';
	return (int)used;
}

static int read_any(const char *text, char **value)
{
	return *text ? config_value_copy(text, value) : -EINVAL;
}

static int read_uri(const char *text, char **value)
{
	/* RFC 5280 section 4.2.1.6: a URI in a certificate is absolute, so it has a scheme. */
	const char *colon = strchr(text, ':');

	return colon && colon != text && colon[1] ? config_value_copy(text, value) : -EINVAL;
}

static int read_dns(const char *text, char **value)
{
	int error;

	for (const char *c = text; *c; c++) {
		if (!isalnum((unsigned char)*c) && !strchr(".-_", *c))
			return -EINVAL;
	}
	error = read_any(text, value);
	for (char *c = error == 0 ? *value : NULL; c && *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return error;
}

static int read_email(const char *text, char **value)
{
	const char *at = strchr(text, '@');

	return at && at != text && at[1] ? config_value_copy(text, value) : -EINVAL;
}

static int read_spki(const char *text, char **value)
{
	char digits[SPKI_DIGITS + 1];

	if (normalise_hex(text, text + strlen(text), digits, sizeof(digits)) != SPKI_DIGITS)
		return -EINVAL;
	return config_value_copy(digits, value);
}

static int read_serial(const char *text, char **value)
{
	char digits[41]; /* RFC 5280 section 4.1.2.2: at most 20 octets */
	const char *at = strchr(text, '@');
	const char *first = digits;

	if (!at || !at[1] || normalise_hex(text, at, digits, sizeof(digits)) <= 0)
		return -EINVAL;
	while (first[0] == '0' && first[1])
		first++;
	return asprintf(value, "%s%s", first, at) < 0 ? -ENOMEM : 0;
}

static const struct {
	const char *prefix;
	int (*read)(const char *text, char **value);
	const char *expected;
} kinds[] = {
	[CONFIG_MATCH_URI] = {"uri", read_uri, "an absolute URI, like uri:urn:example:scada"},
	[CONFIG_MATCH_DNS] = {"dns", read_dns, "a DNS name without wildcard"},
	[CONFIG_MATCH_EMAIL] = {"email", read_email, "an address with '@'"},
	[CONFIG_MATCH_CN] = {"cn", read_any, "a common name"},
	[CONFIG_MATCH_SPKI] = {"spki-sha256", read_spki, "64 hexadecimal digits"},
	[CONFIG_MATCH_SERIAL] = {"serial", read_serial,
				 "serial:HEX@ISSUER, with the issuer as in RFC 2253"},
	[CONFIG_MATCH_ROLE] = {"role", read_any, "a role"},
};

static int read_match(const struct config_place *place, const char *text, void *value)
{
	struct config_match match = {0};
	size_t size = strcspn(text, ":");
	int error;

	for (size_t kind = 0; text[size] && kind < ARRAY_SIZE(kinds); kind++) {
		if (strlen(kinds[kind].prefix) != size ||
		    strncmp(kinds[kind].prefix, text, size) != 0)
			continue;
		match.kind = (enum config_match_kind)kind;
		error = kinds[kind].read(text + size + 1, &match.value);
		if (error == -EINVAL) {
			config_report_error(place->report, place->line,
					    "%s: '%s' is not valid, expected %s",
					    place->option->name, text, kinds[kind].expected);
			return 1;
		}
		if (error == 0)
			memcpy(value, &match, sizeof(match));
		return error;
	}
	return -EINVAL;
}

static void print_match(const struct config_option *option, const void *value, FILE *file)
{
	struct config_match match;
	char *text;

	(void)option;
	memcpy(&match, value, sizeof(match));
	if (asprintf(&text, "%s:%s", kinds[match.kind].prefix, match.value) < 0)
		return;
	config_value_print_string(text, file);
	free(text);
}

static void release_match(void *value)
{
	struct config_match match;

	memcpy(&match, value, sizeof(match));
	free(match.value);
}

const struct config_type config_type_match = {
	.expected = "KIND:VALUE with the kind uri, dns, email, cn, spki-sha256, serial or role",
	.size = sizeof(struct config_match),
	.read = read_match,
	.print = print_match,
	.release = release_match,
};
