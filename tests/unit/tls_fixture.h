/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates by mcseal-pki and contexts of both roles, for tests of handshakes with our own and
 * with plain OpenSSL ends, on TCP over loopback. make_papers and remove_papers are a group's
 * set-up and tear-down; papers_start, papers_shake and papers_end are a case's.
 */
#ifndef MCSEAL_TESTS_TLS_FIXTURE_H
#define MCSEAL_TESTS_TLS_FIXTURE_H

#include "tls/handshake.h"

#include "openssl_fixture.h"

#include "base/error.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <openssl/err.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <cmocka.h>

static char papers[] = "/tmp/mcseal-papers-XXXXXX";
static struct config_match papers_match = {CONFIG_MATCH_URI, (char[]){"urn:mcseal:edge:office"}};
static struct config_identity papers_identity = {
	.name = (char[]){"office"}, .edge = true, .matches = &papers_match, .match_count = 1};
static struct config papers_config = {.identities = &papers_identity, .identity_count = 1};

static inline int papers_shell(const char *commands)
{
	char command[1024];

	snprintf(command, sizeof(command),
		 "cd %s && P=$OLDPWD/certs/mcseal-pki && (%s) >/dev/null 2>&1", papers, commands);
	return system(command);
}

/*
 * An emulated machine takes half a minute to make them: with MCSEAL_PKI_CACHE=FOLDER they are made
 * once a day, into that folder, and copied.
 */
static int make_papers(void **state)
{
	(void)state;
	if (mkdtemp(papers) == NULL)
		return -1;
	return papers_shell("C=${MCSEAL_PKI_CACHE:+$MCSEAL_PKI_CACHE/unit-$(date -u +%F)}; "
			    "[ -n \"$C\" ] && cp -r \"$C/a\" . || { "
			    "$P init a && $P -d a gateway gw --ip 127.0.0.1 --dns gw.example && "
			    "$P -d a edge office && "
			    "{ [ -z \"$C\" ] || { mkdir -p \"$C\" && cp -r a \"$C/a.$$\" && "
			    "mv -T \"$C/a.$$\" \"$C/a\"; }; }; }");
}

static int remove_papers(void **state)
{
	char command[64];

	(void)state;
	snprintf(command, sizeof(command), "rm -rf %s", papers);
	return system(command);
}

static inline const char *papers_path(char *path, size_t size, const char *name)
{
	snprintf(path, size, "%s/a/%s", papers, name);
	return path;
}

/* A context of ours. `name` is the certificate's: "gw", "office". */
static inline struct tls_context *papers_context(enum tls_role role, const char *name)
{
	char certificate[128], key[128], anchors[128], crl[128], file[64];
	struct config_credentials files = {
		.certificate = certificate, .key = key, .ca = anchors, .crl = crl};
	struct tls_context *made = NULL;

	snprintf(file, sizeof(file), "issued/%s.pem", name);
	papers_path(certificate, sizeof(certificate), file);
	snprintf(file, sizeof(file), "issued/%s.key", name);
	papers_path(key, sizeof(key), file);
	papers_path(anchors, sizeof(anchors), "ca.pem");
	papers_path(crl, sizeof(crl), "crl.pem");
	assert_int_equal(tls_context_new(&papers_config, &files, role, "test", stderr, &made), 0);
	return made;
}

/* A plain context for the other end, speaking that one suite. */
static inline SSL_CTX *papers_plain(const struct openssl_suite *suite, bool server)
{
	SSL_CTX *context = SSL_CTX_new(server ? TLS_server_method() : TLS_client_method());
	const char *name = server ? "gw" : "office";
	char path[128], file[64];

	assert_non_null(context);
	openssl_restrict(context, suite);
	snprintf(file, sizeof(file), "issued/%s.pem", name);
	assert_int_equal(
		SSL_CTX_use_certificate_chain_file(context, papers_path(path, sizeof(path), file)),
		1);
	snprintf(file, sizeof(file), "issued/%s.key", name);
	assert_int_equal(SSL_CTX_use_PrivateKey_file(context, papers_path(path, sizeof(path), file),
						     SSL_FILETYPE_PEM),
			 1);
	return context;
}

/* Two ends of a TCP connection over loopback, non-blocking. */
static inline void papers_connect(int fds[2])
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof(address);
	const int on = 1;
	int listener = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
	assert_int_equal(listen(listener, 1), 0);
	assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(connect(fds[0], (struct sockaddr *)&address, size), 0);
	fds[1] = accept(listener, NULL, NULL);
	assert_true(fds[1] >= 0);
	close(listener);
	for (int i = 0; i < 2; i++) {
		fcntl(fds[i], F_SETFL, O_NONBLOCK);
		setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	}
}

/* Our end (index 0 of the sockets) and the other. */
struct papers_pair {
	struct tls_context *context;
	struct handshake *handshake;
	struct handshake_peer peer;
	SSL_CTX *plain_context;
	SSL *plain;
	int fds[2];
	int result;
};

static inline void papers_start(struct papers_pair *pair, const struct openssl_suite *suite,
				bool we_serve)
{
	struct handshake_server server = {.name = NULL};

	memset(pair, 0, sizeof(*pair));
	assert_int_equal(address_parse_host("127.0.0.1", 1, &server.address), 0);
	papers_connect(pair->fds);
	pair->context = papers_context(we_serve ? TLS_ROLE_GATEWAY : TLS_ROLE_EDGE,
				       we_serve ? "gw" : "office");
	assert_int_equal(handshake_new(pair->context, pair->fds[0], &server, &pair->handshake), 0);
	pair->plain_context = papers_plain(suite, !we_serve);
	pair->plain = SSL_new(pair->plain_context);
	SSL_set_fd(pair->plain, pair->fds[1]);
	if (we_serve)
		SSL_set_connect_state(pair->plain);
	else
		SSL_set_accept_state(pair->plain);
	pair->result = HANDSHAKE_WANT_READ;
}

static inline void papers_shake(struct papers_pair *pair)
{
	for (int i = 0; i < 2000; i++) {
		struct pollfd wait = {.fd = pair->fds[0], .events = POLLIN};

		(void)SSL_do_handshake(pair->plain);
		if (pair->result > 0)
			pair->result = handshake_step(pair->handshake, &pair->peer);
		if (pair->result == 0 && SSL_is_init_finished(pair->plain))
			break;
		poll(&wait, 1, 2);
	}
	ERR_clear_error();
	assert_int_equal(pair->result, 0);
	assert_true(SSL_is_init_finished(pair->plain));
}

static inline void papers_end(struct papers_pair *pair)
{
	handshake_free(pair->handshake);
	tls_context_free(pair->context);
	SSL_free(pair->plain);
	SSL_CTX_free(pair->plain_context);
	close(pair->fds[0]);
	close(pair->fds[1]);
}

#endif
