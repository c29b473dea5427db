/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/examination.h"

#include "base/error.h"
#include "doctor/tls_end.h"
#include "tls/certificate_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DAY           (24 * 3600)
#define CRL_SOON_DAYS 7
#define THEN_RELOAD   "copy it and its key here; mcseal reload"
#define NEW_CRL       "mcseal-pki crl (on the CA's machine); copy crl.pem to %s; mcseal reload"

/* The name that mcseal-pki knows it by: its file's, without folder and ending. */
static void print_name(const char *path, char *name, size_t size)
{
	const char *slash = strrchr(path, '/');
	const char *start = slash != NULL ? slash + 1 : path;

	snprintf(name, size, "%.*s", (int)strcspn(start, "."), start);
}

static void print_renewal(const struct tls_end *end, char *cure, size_t size)
{
	char name[128];

	print_name(end->credentials->certificate, name, sizeof(name));
	snprintf(cure, size, "mcseal-pki %s %s --renew%s (on the CA's machine); " THEN_RELOAD,
		 end->role == TLS_ROLE_GATEWAY ? "gateway" : "edge", name,
		 end->role == TLS_ROLE_GATEWAY ? " --ip ADDRESS" : "");
}

/* By what the daemon's own code says of the files. */
static void print_cure(const struct tls_end *end, const char *what, char *cure, size_t size)
{
	static const struct {
		const char *part, *cure;
	} CURES[] = {
		{"not valid yet", "timedatectl set-ntp true, if this clock is wrong"},
		{"not the key of", "copy certificate and key of one issue together, from the CA's "
				   "folder issued/"},
		{"pass phrase", "openssl pkey -in KEY -out KEY.plain && mv KEY.plain KEY"},
		{"no usable PEM certificate chain",
		 "openssl x509 -in FILE -noout -text says what it is; PEM is needed"},
		{"no usable PEM CA", "copy ca.pem from the CA's folder"},
		{"revocation list", "mcseal-pki crl (on the CA's machine); copy crl.pem"},
	};

	cure[0] = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(CURES) && cure[0] == '\0'; i++)
		if (strstr(what, CURES[i].part) != NULL)
			snprintf(cure, size, "%s", CURES[i].cure);
	if (cure[0] == '\0')
		print_renewal(end, cure, size);
}

/* "FILE: error: WHERE: what". */
static void tell_line(struct examination *examination, const struct tls_end *end, const char *line)
{
	bool is_error = strstr(line, ": error: ") != NULL;
	const char *mark = strstr(line, is_error ? ": error: " : ": warning: ");
	const char *what = mark != NULL ? strstr(mark, end->where) : NULL;
	char cure[FINDING_CURE_SIZE];

	what = what != NULL ? what + strlen(end->where) + 2 : line;
	print_cure(end, what, cure, sizeof(cure));
	examination_say(examination, is_error ? FINDING_FAILED : FINDING_WARNING, end->where, cure,
			"%.*s: %s", mark != NULL ? (int)(mark - line) : 0, line, what);
}

/* What the daemon would say at its start. True: it would take these files. */
static bool load(struct examination *examination, const struct tls_end *end)
{
	struct tls_context *context = NULL;
	cleanup_free char *text = NULL;
	size_t size = 0;
	FILE *report = open_memstream(&text, &size);
	char *rest = NULL;
	int error = -ENOMEM;

	if (report != NULL) {
		error = tls_context_new(examination->config, end->credentials, end->role,
					end->where, report, &context);
		fclose(report);
		for (char *line = text != NULL ? strtok_r(text, "\n", &rest) : NULL; line != NULL;
		     line = strtok_r(NULL, "\n", &rest))
			tell_line(examination, end, line);
	}
	if (error == -ENOMEM)
		examination_say(examination, FINDING_FAILED, end->where, NULL, "out of memory");
	tls_context_free(context);
	return error == 0;
}

/* Edges look for the gateway's address in it, unless they have a server_name. */
static void look_for_addresses(struct examination *examination, const struct tls_end *end)
{
	static const struct in6_addr any = IN6ADDR_ANY_INIT;
	char address_text[ADDRESS_TEXT_SIZE], cure[FINDING_CURE_SIZE], name[128];

	for (size_t i = 0; i < end->gateway->listen_count; i++) {
		const struct address *address = &end->gateway->listen[i];
		bool is_any = address->any.sa_family == AF_INET6
				      ? memcmp(&address->v6.sin6_addr, &any, sizeof(any)) == 0
				      : address->v4.sin_addr.s_addr == 0;

		if (is_any || certificate_file_has_address(end->credentials->certificate, address))
			continue;
		address_print_host(address, address_text);
		print_name(end->credentials->certificate, name, sizeof(name));
		snprintf(cure, sizeof(cure),
			 "mcseal-pki gateway %s --renew --ip %s (on the CA's machine); " THEN_RELOAD
			 "; or `server_name` in the edges' routes",
			 name, address_text);
		examination_say(examination, FINDING_WARNING, end->where, cure,
				"the certificate does not name %s, which it listens at: who dials "
				"that address will refuse it",
				address_text);
	}
}

/* Loaded: the daemon would take it; else load() has said what is wrong with it. */
static void tell_facts(struct examination *examination, const struct tls_end *end, bool loaded)
{
	struct certificate_facts facts;
	char cure[FINDING_CURE_SIZE];
	long days;

	if (end->credentials->certificate == NULL ||
	    certificate_file_look(end->credentials, &facts) < 0)
		return;
	days = (long)((facts.not_after - time(NULL)) / DAY);
	if (facts.not_before > examination->latest_start)
		examination->latest_start = facts.not_before;
	print_renewal(end, cure, sizeof(cure));
	if (facts.revoked)
		examination_say(examination, FINDING_FAILED, end->where, cure,
				"%s: its own CA has revoked it, says %s",
				end->credentials->certificate, end->credentials->crl);
	else if (loaded)
		examination_say(examination, FINDING_OK, end->where, NULL,
				"%s: %s (%s), %ld days left", end->credentials->certificate,
				facts.subject, facts.names[0] != '\0' ? facts.names : "no names",
				days);
	if (facts.stranger)
		examination_say(examination, FINDING_NOTE, end->where, NULL,
				"%s does not vouch for this end's own certificate: right where "
				"the two ends have different CAs, else the wrong file",
				end->credentials->ca);
	if (end->gateway != NULL && loaded)
		look_for_addresses(examination, end);
}

static void tell_list(struct examination *examination, const char *path)
{
	struct crl_facts facts;
	time_t now = time(NULL);
	char cure[FINDING_CURE_SIZE];
	long days;

	if (crl_file_look(path, &facts) < 0)
		return; /* said by load() */
	snprintf(cure, sizeof(cure), NEW_CRL, path);
	days = (long)((facts.next_update - now) / DAY);
	if (facts.last_update > examination->latest_start)
		examination->latest_start = facts.last_update;
	if (facts.next_update < now)
		examination_say(examination, FINDING_FAILED, path, cure,
				"the revocation list ended %ld days ago: nobody's certificate is "
				"taken any more",
				-days);
	else
		examination_say(examination, days < CRL_SOON_DAYS ? FINDING_WARNING : FINDING_OK,
				path, days < CRL_SOON_DAYS ? cure : NULL,
				"revocation list: %lu revoked, %ld days until a new one is needed",
				facts.revoked, days);
}

static bool is_first(const struct tls_end *ends, size_t index)
{
	for (size_t i = 0; i < index; i++)
		if (ends[i].credentials->crl != NULL &&
		    strcmp(ends[i].credentials->crl, ends[index].credentials->crl) == 0)
			return false;
	return true;
}

void examine_certificates(struct examination *examination)
{
	cleanup_free struct tls_end *ends = NULL;
	size_t count;

	if (tls_ends_of(examination->config, &ends, &count) < 0) {
		examination_say(examination, FINDING_FAILED, NULL, NULL, "out of memory");
		return;
	}
	for (size_t i = 0; i < count; i++) {
		if (ends[i].credentials->certificate == NULL)
			examination_say(examination, FINDING_NOT_ASKED, ends[i].where, NULL,
					"no certificate that could be read");
		tell_facts(examination, &ends[i], load(examination, &ends[i]));
		if (ends[i].credentials->crl != NULL && is_first(ends, i))
			tell_list(examination, ends[i].credentials->crl);
	}
}
