/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A handshake with each gateway of each route, with the certificate of each source, as the daemon
 * would make it: same contexts, same ALPN, same expectations. The gateway sees a connection that
 * ends before it says where it wants to go.
 */
#include "doctor/examination.h"

#include "base/error.h"
#include "doctor/connection.h"
#include "doctor/tls_end.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ONE_GATEWAY (3 * CLOCK_SEC)
#define REFUSAL     (CLOCK_SEC / 2) /* a foreign server may say no only after the handshake */
#define SOON_DAYS   30
#define DAY         (24 * 3600)

/* What a failure means and what helps; the first that fits. */
static const struct {
	const char *part, *meaning, *cure;
} MEANINGS[] = {
	{"Connection refused", "nobody listens there, or a firewall says no",
	 "there: systemctl status mcseald; mcseal doctor"},
	{"no answer in time", "the packets are dropped on the way, or the address is wrong",
	 "ping and traceroute to it; firewalls in between"},
	{"no end of the TLS handshake", "something accepts there and does not speak TLS",
	 "there: ss -ltnp; is this the gateway's port?"},
	{"No route to host", "the network there does not know this address",
	 "ip route get ADDRESS"},
	{"Network is unreachable", "this machine has no route there", "ip route get ADDRESS"},
	{"alert: certificate expired", "the gateway finds our certificate expired",
	 "mcseal-pki edge NAME --renew (on the CA's machine); there: date"},
	{"alert: certificate revoked", "the gateway's list has our certificate",
	 "mcseal-pki edge NAME --renew (on the CA's machine), if that was no intention"},
	{"alert: unknown CA", "the gateway's `ca` is not the CA of our certificate",
	 "there: ca = the CA that issued our certificate"},
	{"alert: certificate unknown",
	 "our certificate is good, but no identity of the gateway matches it (or its revocation "
	 "list has ended)",
	 "mcseal-pki show NAME prints the `match` for the gateway's configuration"},
	{"alert: unsupported certificate", "our certificate is not one for clients",
	 "mcseal-pki edge NAME (on the CA's machine)"},
	{"alert: bad certificate", "the gateway cannot make anything of our certificate",
	 "there: journalctl -u mcseald | grep handshake-failed"},
	{"alert: no application protocol", "the gateway does not take us for an edge",
	 "there: role = edge for this identity; here: proxy_header = no for a foreign server"},
	{"proxy_header = no", "the other end is no mcseal gateway",
	 "proxy_header = no in the route, if it is meant to be nginx or stunnel"},
	{"IP address mismatch", "its certificate does not name the address that we dial",
	 "mcseal-pki gateway NAME --renew --ip ADDRESS (on the CA's machine); or server_name in "
	 "the route"},
	{"hostname mismatch", "its certificate does not have the name in server_name",
	 "server_name in the route; mcseal-pki show NAME says which names there are"},
	{"refused: certificate has expired", "the gateway's certificate has ended",
	 "mcseal-pki gateway NAME --renew --ip ADDRESS (on the CA's machine)"},
	{"not yet valid", "its certificate begins later, or this clock is behind",
	 "timedatectl set-ntp true"},
	{"refused: certificate revoked", "our revocation list has the gateway's certificate",
	 "mcseal-pki gateway NAME --renew --ip ADDRESS (on the CA's machine)"},
	{"CRL has expired", "our revocation list has ended",
	 "mcseal-pki crl (on the CA's machine); copy crl.pem here; mcseal reload"},
	{"unable to get certificate CRL", "our revocation list is not one of the gateway's CA",
	 "crl = the list of the CA that issued the gateway's certificate"},
	{"self-signed certificate", "it was issued by nobody that our `ca` knows",
	 "ca = the CA that issued the gateway's certificate"},
	{"unable to get local issuer", "our `ca` is not the CA of the gateway's certificate",
	 "ca = the CA that issued the gateway's certificate"},
	{"certificate signature failure",
	 "our `ca` has the name of the gateway's CA, and other keys",
	 "copy ca.pem anew from the CA's folder"},
	{"unsuitable certificate purpose", "the gateway shows a certificate that is for clients",
	 "mcseal-pki gateway NAME --ip ADDRESS (on the CA's machine)"},
	{"wrong version number", "what answers there is not TLS",
	 "there: ss -ltnp; is this the gateway's port?"},
	{"peer closed the connection", "refused without a word, as nginx does, or by a firewall",
	 "there: the log; clients = of the gateway section"},
	{"Connection reset by peer", "refused without a word", "there: the log"},
};

static void tell_failure(struct examination *examination, const char *about, const char *reason)
{
	for (size_t i = 0; i < ARRAY_SIZE(MEANINGS); i++)
		if (strstr(reason, MEANINGS[i].part) != NULL) {
			examination_say(examination, FINDING_FAILED, about, MEANINGS[i].cure,
					"%s: %s", reason, MEANINGS[i].meaning);
			return;
		}
	examination_say(examination, FINDING_FAILED, about,
			"there: journalctl -u mcseald | grep handshake-failed", "%s", reason);
}

static void tell_success(struct examination *examination, const char *about,
			 const struct connection *connection)
{
	long days = (long)((tls_exchange_peer_expires(connection->handshake) - time(NULL)) / DAY);
	bool soon = days < SOON_DAYS;

	examination_say(examination, soon ? FINDING_WARNING : FINDING_OK, about,
			soon ? "mcseal-pki gateway NAME --renew --ip ADDRESS (on the CA's machine)"
			     : NULL,
			"%s, %s, %s: its certificate has %ld days left",
			handshake_version(connection->handshake),
			handshake_cipher(connection->handshake), connection->peer.subject, days);
}

/* Has a foreign server second thoughts? Silence is consent. */
static bool is_refused(struct connection *connection)
{
	char byte;
	ssize_t got = connection_receive(connection, &byte, 1, clock_now() + REFUSAL);

	if (got == 0)
		snprintf(connection->reason, sizeof(connection->reason),
			 "peer closed the connection after the handshake");
	return got <= 0 && got != -ETIMEDOUT;
}

static void try_gateway(struct examination *examination, const struct tls_context *context,
			const struct tls_end *end, const struct config_route *route,
			const struct address *address)
{
	const struct handshake_server server = {*address, route->server_name, route->proxy_header};
	struct connection connection;
	clock_us deadline = clock_now() + ONE_GATEWAY;
	char about[FINDING_ABOUT_SIZE], text[ADDRESS_TEXT_SIZE];

	snprintf(about, sizeof(about), "%s route \"%s\" %s", end->where, route->name,
		 address_print(address, text));
	if (clock_now() >= examination->deadline) {
		examination_say(examination, FINDING_NOT_ASKED, about, NULL,
				"the others took all the time");
		return;
	}
	if (connection_dial(&connection, examination->config, address, deadline) < 0 ||
	    connection_secure(&connection, context, &server, deadline) < 0 ||
	    (!route->proxy_header && is_refused(&connection)))
		tell_failure(examination, about, connection.reason);
	else
		tell_success(examination, about, &connection);
	connection_end(&connection);
}

static void try_end(struct examination *examination, const struct tls_end *end)
{
	struct tls_context *context = NULL;
	cleanup_free char *text = NULL;
	size_t size;
	FILE *report = open_memstream(&text, &size);
	int error = -ENOMEM;

	if (report != NULL) {
		error = tls_context_new(examination->config, end->credentials, TLS_ROLE_EDGE,
					end->where, report, &context);
		fclose(report);
	}
	if (error < 0)
		examination_say(examination, FINDING_NOT_ASKED, end->where, NULL,
				"its certificate is not usable");
	for (size_t i = 0; error == 0 && i < end->edge->route_count; i++) {
		const struct config_route *route = &end->edge->routes[i];

		for (size_t j = 0; j < route->gateway_count; j++)
			try_gateway(examination, context, end, route, &route->gateways[j]);
	}
	tls_context_free(context);
}

void examine_gateways(struct examination *examination)
{
	cleanup_free struct tls_end *ends = NULL;
	size_t count;

	if (examination->config->edge_count == 0) {
		examination_say(examination, FINDING_OK, NULL, NULL,
				"there is no edge here, so none to dial");
		return;
	}
	if (tls_ends_of(examination->config, &ends, &count) < 0) {
		examination_say(examination, FINDING_FAILED, NULL, NULL, "out of memory");
		return;
	}
	for (size_t i = 0; i < count; i++)
		if (ends[i].role == TLS_ROLE_EDGE)
			try_end(examination, &ends[i]);
}
