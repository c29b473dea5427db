/* SPDX-License-Identifier: Apache-2.0 */
#include "config/key_uri.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char *after(const char *text, const char *prefix)
{
	size_t length = strlen(prefix);

	return strncmp(text, prefix, length) == 0 ? text + length : NULL;
}

bool key_uri_is_tpm2(const char *key)
{
	return after(key, "handle:") != NULL;
}

bool key_uri_is_token(const char *key)
{
	return after(key, "pkcs11:") != NULL || key_uri_is_tpm2(key);
}

static int digit(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : tolower((unsigned char)c) - 'a' + 10;
}

/* RFC 3986 2.1. */
static int decode(const char *from, size_t length, char *value, size_t size)
{
	size_t used = 0;

	for (size_t i = 0; i < length; i++) {
		int c = (unsigned char)from[i];

		if (c == '%') {
			if (length - i < 3 || !isxdigit((unsigned char)from[i + 1]) ||
			    !isxdigit((unsigned char)from[i + 2]))
				return -EINVAL;
			c = digit(from[i + 1]) * 16 + digit(from[i + 2]);
			i += 2;
		}
		if (c == '\0' || used + 1 >= size)
			return -EINVAL;
		value[used++] = (char)c;
	}
	value[used] = '\0';
	return 0;
}

int key_uri_query(const char *uri, const char *name, char *value, size_t size)
{
	const char *at = strchr(uri, '?'), *found = NULL;

	while (at != NULL && found == NULL) {
		found = after(at + 1, name);
		if (found != NULL && *found != '=')
			found = NULL;
		at = strchr(at + 1, '&');
	}
	if (found == NULL)
		return -ENOENT;
	found++;
	if (after(found, "file:") != NULL)
		found = key_uri_path(found);
	return found != NULL ? decode(found, strcspn(found, "&"), value, size) : -EINVAL;
}

const char *key_uri_path(const char *uri)
{
	const char *path = after(uri, "file://");

	if (path == NULL)
		path = after(uri, "file:");
	return path != NULL && *path == '/' ? path : NULL;
}

void key_uri_bare(const char *uri, char *text, size_t size)
{
	snprintf(text, size, "%.*s", (int)strcspn(uri, "?"), uri);
}
