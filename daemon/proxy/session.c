/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/session.h"

#include "base/error.h"
#include "base/slab.h"
#include "proxy/audit.h"
#include "proxy/counters.h"
#include "proxy/inspection.h"
#include "proxy/relay.h"
#include "proxy/relay_splice.h"
#include "proxy/session_setup.h"
#include "proxy/session_walk.h"
#include "proxy/worker.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define BIT(n) (uint16_t)(1U << (n))

/* clang-format off: a table */
const struct session_state_row session_states[SESSION_STATES] = {
	[SESSION_NEW] =
		{
			.name = "NEW",
			.next = {[SESSION_EDGE] = BIT(SESSION_RESOLVING) | BIT(SESSION_CLOSED),
				 [SESSION_GATEWAY] =
					 BIT(SESSION_HANDSHAKING) | BIT(SESSION_CLOSED)},
		},
	[SESSION_RESOLVING] =
		{
			.name = "RESOLVING",
			.next = {[SESSION_EDGE] = BIT(SESSION_DIALING) | BIT(SESSION_CLOSED),
				 [SESSION_GATEWAY] = BIT(SESSION_AWAITING) | BIT(SESSION_DIALING) |
						     BIT(SESSION_CLOSED)},
			.accepts = BIT(SESSION_ON_RECV) | BIT(SESSION_ON_SEND) |
				   BIT(SESSION_ON_DEADLINE),
		},
	[SESSION_AWAITING] =
		{
			.name = "AWAITING",
			.next = {[SESSION_GATEWAY] = BIT(SESSION_DIALING) | BIT(SESSION_CLOSED)},
			.accepts = BIT(SESSION_ON_RECV) | BIT(SESSION_ON_SEND) |
				   BIT(SESSION_ON_DEADLINE),
		},
	[SESSION_DIALING] =
		{
			.name = "DIALING",
			/* DIALING again: the next gateway of the route. */
			.next = {[SESSION_EDGE] = BIT(SESSION_DIALING) | BIT(SESSION_HANDSHAKING) |
						  BIT(SESSION_CLOSED),
				 [SESSION_GATEWAY] = BIT(SESSION_UNLOCKING) |
						     BIT(SESSION_RELAYING) | BIT(SESSION_CLOSED)},
			.accepts = BIT(SESSION_ON_CONNECT) | BIT(SESSION_ON_RECV) |
				   BIT(SESSION_ON_SEND) | BIT(SESSION_ON_DEADLINE),
		},
	[SESSION_HANDSHAKING] =
		{
			.name = "HANDSHAKING",
			.next = {[SESSION_EDGE] = BIT(SESSION_ARMING) | BIT(SESSION_DIALING) |
						  BIT(SESSION_CLOSED),
				 [SESSION_GATEWAY] = BIT(SESSION_ARMING) | BIT(SESSION_CLOSED)},
			.accepts = BIT(SESSION_ON_HANDSHAKE),
		},
	[SESSION_ARMING] =
		{
			.name = "ARMING",
			.next = {[SESSION_EDGE] = BIT(SESSION_RELAYING) | BIT(SESSION_CLOSED),
				 [SESSION_GATEWAY] = BIT(SESSION_RESOLVING) | BIT(SESSION_CLOSED)},
		},
	[SESSION_UNLOCKING] =
		{
			.name = "UNLOCKING",
			.next = {[SESSION_GATEWAY] = BIT(SESSION_RELAYING) | BIT(SESSION_CLOSED)},
			.accepts = BIT(SESSION_ON_RECV) | BIT(SESSION_ON_SEND) |
				   BIT(SESSION_ON_DEADLINE),
		},
	[SESSION_RELAYING] =
		{
			.name = "RELAYING",
			.next = {[SESSION_EDGE] = BIT(SESSION_DRAINING) | BIT(SESSION_CLOSED),
				 [SESSION_GATEWAY] = BIT(SESSION_DRAINING) | BIT(SESSION_CLOSED)},
			.accepts = BIT(SESSION_ON_RECV) | BIT(SESSION_ON_SEND),
		},
	[SESSION_DRAINING] =
		{
			.name = "DRAINING",
			.next = {[SESSION_EDGE] = BIT(SESSION_CLOSED),
				 [SESSION_GATEWAY] = BIT(SESSION_CLOSED)},
			.accepts = BIT(SESSION_ON_RECV) | BIT(SESSION_ON_SEND) |
				   BIT(SESSION_ON_DEADLINE),
		},
	[SESSION_CLOSED] =
		{
			.name = "CLOSED",
			/* Everything: cancelled operations still complete. */
			.accepts = BIT(SESSION_COMPLETIONS) - 1,
		},
};

const struct session_reason_row session_reasons[SESSION_REASONS] = {
	[SESSION_REASON_NONE] = {"none", LOG_LEVEL_DEBUG, "the session is not closed"},
	[SESSION_REASON_FINISHED] = {"finished", LOG_LEVEL_INFO, "both sides closed in good order"},
	[SESSION_REASON_CLIENT_LOST] = {"client-lost", LOG_LEVEL_INFO,
					"the client's connection was reset or timed out"},
	[SESSION_REASON_TARGET_LOST] = {"target-lost", LOG_LEVEL_WARNING,
					"the connection to PLC or gateway was reset or timed out"},
	[SESSION_REASON_CLIENT_TRUNCATED] = {"client-truncated", LOG_LEVEL_INFO,
					     "the client's stream was cut: no close_notify, or the "
					     "end came inside a frame"},
	[SESSION_REASON_TARGET_TRUNCATED] = {"target-truncated", LOG_LEVEL_WARNING,
					     "the stream from PLC or gateway was cut: no "
					     "close_notify, or the end came inside a frame"},
	[SESSION_REASON_CLIENT_TLS] = {"client-tls-failed", LOG_LEVEL_WARNING,
				       "a record from the client was forged or broken, or the "
				       "client sent an alert"},
	[SESSION_REASON_TARGET_TLS] = {"gateway-tls-failed", LOG_LEVEL_WARNING,
				       "a record from the gateway was forged or broken, or the "
				       "gateway refused us by an alert"},
	[SESSION_REASON_HANDSHAKE_FAILED] = {"handshake-failed", LOG_LEVEL_WARNING,
					     "the TLS handshake failed or the certificate was "
					     "refused; the detail says why"},
	[SESSION_REASON_HANDSHAKE_TIMEOUT] = {"handshake-timeout", LOG_LEVEL_WARNING,
					      "the client did not finish its TLS handshake in "
					      "time"},
	[SESSION_REASON_HANDSHAKE_EVICTED] = {"handshake-evicted", LOG_LEVEL_WARNING,
					      "a silent connection gave way when the limit of "
					      "handshakes was reached"},
	[SESSION_REASON_NOT_REDIRECTED] = {"not-redirected", LOG_LEVEL_WARNING,
					   "somebody dialled the edge's listener itself instead of "
					   "being redirected to it"},
	[SESSION_REASON_SOURCE_REFUSED] = {"source-refused", LOG_LEVEL_WARNING,
					   "no source rule of the edge covers this client, or the "
					   "gateway's clients do not"},
	[SESSION_REASON_NO_ROUTE] = {"no-route", LOG_LEVEL_WARNING,
				     "no route of the edge covers the destination"},
	[SESSION_REASON_GATEWAYS_FAILED] = {"gateways-failed", LOG_LEVEL_WARNING,
					    "no gateway of the route could be reached and verified "
					    "in time; the detail tells the last failure"},
	[SESSION_REASON_ALPN_REFUSED] = {"alpn-refused", LOG_LEVEL_WARNING,
					 "the client speaks as an edge (ALPN mcseal/1) but its "
					 "identity has no role = edge"},
	[SESSION_REASON_PROXY_HEADER_BAD] = {"proxy-header-bad", LOG_LEVEL_WARNING,
					     "the edge's PROXY header is missing or malformed"},
	[SESSION_REASON_PROXY_HEADER_TIMEOUT] = {"proxy-header-timeout", LOG_LEVEL_WARNING,
						 "the edge's PROXY header did not come in time"},
	[SESSION_REASON_PLC_UNKNOWN] = {"plc-unknown", LOG_LEVEL_WARNING,
					"the destination is no configured PLC and port, or the "
					"client named none"},
	[SESSION_REASON_PLC_NOT_ALLOWED] = {"plc-not-allowed", LOG_LEVEL_WARNING,
					    "the client's identity may not reach this PLC or port"},
	[SESSION_REASON_PLC_BUSY] = {"plc-busy", LOG_LEVEL_WARNING,
				     "all connection slots of the PLC's port stayed in use"},
	[SESSION_REASON_PLC_REFUSED] = {"plc-refused", LOG_LEVEL_WARNING,
					"the PLC could not be dialled"},
	[SESSION_REASON_PLC_TIMEOUT] = {"plc-timeout", LOG_LEVEL_WARNING,
					"the PLC did not answer the dial in time"},
	[SESSION_REASON_PLC_PASSWORD] = {"plc-password", LOG_LEVEL_ERROR,
					 "the PLC did not take the remote password that the "
					 "gateway holds, or it was wrong too often to be tried "
					 "again"},
	[SESSION_REASON_BAD_REQUEST] = {"bad-request", LOG_LEVEL_WARNING,
					"the client sent what is no MC frame; nothing of it was "
					"forwarded"},
	[SESSION_REASON_BAD_ANSWER] = {"bad-answer", LOG_LEVEL_WARNING,
				       "the other side sent what is no answer frame, or not the "
				       "answer to what was asked; the "
				       "detail says why"},
	[SESSION_REASON_REQUEST_INCOMPLETE] = {"request-incomplete", LOG_LEVEL_WARNING,
					       "the rest of a begun request did not come in time"},
	[SESSION_REASON_ANSWER_INCOMPLETE] = {"answer-incomplete", LOG_LEVEL_WARNING,
					      "the rest of a begun answer did not come in time"},
	[SESSION_REASON_ANSWER_TIMEOUT] =
		{"answer-timeout", LOG_LEVEL_WARNING,
		 "the PLC did not answer in time; what it says later goes "
		 "nowhere"},
	[SESSION_REASON_DRAIN_TIMEOUT] = {"drain-timeout", LOG_LEVEL_INFO,
					  "one side closed and the other stayed silent"},
	[SESSION_REASON_KEY_LIMIT] = {"key-limit", LOG_LEVEL_INFO,
				      "limits.key_records were sent or received under one key and "
				      "it could not be changed; closed between two requests"},
	[SESSION_REASON_CERTIFICATE_REVOKED] = {"certificate-revoked", LOG_LEVEL_WARNING,
						"the other end's certificate has been revoked "
						"since; a reload found it in the list"},
	[SESSION_REASON_CERTIFICATE_UNTRUSTED] =
		{"certificate-untrusted", LOG_LEVEL_WARNING,
		 "by the CA certificates of a reload the other "
		 "end's is not good any more; the detail says why"},
	[SESSION_REASON_CERTIFICATE_EXPIRED] = {"certificate-expired", LOG_LEVEL_WARNING,
						"a certificate of the connection has ended; the "
						"detail says whose"},
	[SESSION_REASON_IDENTITY_WITHDRAWN] = {"identity-withdrawn", LOG_LEVEL_WARNING,
					       "in a new configuration the client's identity is "
					       "gone, or its certificate is another's"},
	[SESSION_REASON_PLC_WITHDRAWN] = {"plc-withdrawn", LOG_LEVEL_WARNING,
					  "in a new configuration the PLC is gone or elsewhere, or "
					  "the client's identity may not reach it"},
	[SESSION_REASON_WITHDRAWN] = {"withdrawn", LOG_LEVEL_WARNING,
				      "a new configuration does not let it be there; the detail "
				      "says why"},
	[SESSION_REASON_MAX_AGE] = {"max-age", LOG_LEVEL_INFO,
				    "it has relayed for timeouts.max_session_age; closed between "
				    "two requests"},
	[SESSION_REASON_CLOSED_BY_ADMIN] =
		{"closed-by-admin", LOG_LEVEL_WARNING,
		 "somebody at the control socket told it to; the `admin` "
		 "line says who"},
	[SESSION_REASON_NO_MEMORY] = {"no-memory", LOG_LEVEL_ERROR, "memory ran out"},
	[SESSION_REASON_INTERNAL] = {"internal", LOG_LEVEL_ERROR,
				     "a system call failed that should not; the detail names it"},
	[SESSION_REASON_SHUTDOWN] = {"shutdown", LOG_LEVEL_INFO, "the daemon is stopping"},
};

static struct slab slab = SLAB_INITIALIZER(sizeof(struct session));

struct ring *session_ring(const struct session *session)
{
	return session->worker->ring;
}

void session_set_deadline(struct session *session, clock_us when)
{
	if (timer_set(ring_timers(session_ring(session)), &session->deadline, when) < 0)
		session_close(session, SESSION_REASON_NO_MEMORY, NULL);
}

static const struct leg *tls_leg(const struct session *session)
{
	return &session->legs[session->role == SESSION_EDGE ? LEG_FAR : LEG_NEAR];
}

bool session_keys_in_kernel(const struct session *session)
{
	return tls_leg(session)->kernel != NULL;
}

/* The answers' direction tells: requests are read by every engine. */
enum relay_engine session_engine(const struct session *session)
{
	const struct direction *answers = &session->directions[LEG_FAR];

	return answers->spliced ? answers->engine : RELAY_ENGINE_COPY;
}

/* Who and where; the same fields in the opening and the closing line. */
static void put_parties(struct line *line, const struct session *session)
{
	char text[ADDRESS_TEXT_SIZE];

	line_number(line, "session", session->id);
	line_text(line, "role", "%s", session->role == SESSION_EDGE ? "edge" : "gateway");
	line_text(line, "client", "%s", address_print(&session->client, text));
	if (session->edge_address.any.sa_family != AF_UNSPEC)
		line_text(line, "edge", "%s", address_print(&session->edge_address, text));
	if (session->identity != NULL)
		line_text(line, "identity", "%s", session->identity->name);
	if (session->serial[0] != '\0')
		line_text(line, "serial", "%s", session->serial);
	if (session->plc != NULL)
		line_text(line, "plc", "%s", session->plc->name);
	if (session->role == SESSION_EDGE && session->route != NULL)
		line_text(line, "route", "%s", session->route->name);
	if (session->destination.any.sa_family != AF_UNSPEC)
		line_text(line, "destination", "%s", address_print(&session->destination, text));
	if (session->tls_version != NULL) {
		line_text(line, "tls", "%s", session->tls_version);
		line_text(line, "cipher", "%s", session->tls_cipher);
		line_text(line, "resumed", "%s", session->resumed ? "yes" : "no");
		line_text(line, "records", "%s",
			  session_keys_in_kernel(session) ? "kernel" : "user");
		if (session->user_why != NULL)
			line_text(line, "records-why", "%s", session->user_why);
		line_text(line, "relay", "%s", relay_engine_name(session_engine(session)));
	}
}

static void tell_closed(const struct session *session, const char *detail)
{
	const struct session_reason_row *reason = &session_reasons[session->reason];
	struct line line;

	audit_begin(&line, session, reason->level, "session-closed");
	line_text(&line, "reason", "%s", reason->name);
	if (detail != NULL)
		line_text(&line, "detail", "%s", detail);
	put_parties(&line, session);
	line_number(&line, "requests", session->directions[LEG_NEAR].frames);
	line_number(&line, "answers", session->directions[LEG_FAR].frames);
	if (session->inspection != NULL)
		line_number(&line, "refused", session->refused);
	line_number(&line, "bytes-to-plc", session->directions[LEG_NEAR].bytes);
	line_number(&line, "bytes-from-plc", session->directions[LEG_FAR].bytes);
	line_seconds(&line, "seconds", clock_now() - session->started);
	audit_tell(session, reason->level, &line);
}

static void tell_opened(const struct session *session)
{
	struct line line;

	audit_begin(&line, session, LOG_LEVEL_INFO, "session-open");
	put_parties(&line, session);
	audit_tell(session, LOG_LEVEL_INFO, &line);
}

void session_enter(struct session *session, enum session_state state)
{
	const struct session_state_row *row = &session_states[session->state];
	struct log_entry entry;

	assert(row->next[session->role] & BIT(state));
	log_begin(&entry, LOG_LEVEL_DEBUG, "session-state");
	log_field(&entry, "session", "%llu", (unsigned long long)session->id);
	log_field(&entry, "from", "%s", row->name);
	log_field(&entry, "to", "%s", session_states[state].name);
	log_end(&entry);
	timer_stop(ring_timers(session_ring(session)), &session->deadline);
	counters_session_enters(session->worker->counters, session, state);
	session->state = state;
	if (state == SESSION_ARMING)
		admission_greeted(&session->worker->counters->admission, &session->place);
	if (state == SESSION_RELAYING)
		tell_opened(session);
}

static bool nothing_in_flight(const struct session *session)
{
	return session->owner.in_flight == 0 && !session->message_pending;
}

static void free_session(struct session *session)
{
	struct snapshot *snapshot = session->snapshot;
	bool dialled = session->legs[LEG_FAR].fd >= 0;

	leg_close(&session->legs[LEG_NEAR]);
	leg_close(&session->legs[LEG_FAR]);
	for (unsigned int i = 0; i < LEGS; i++)
		if (session->directions[i].pipe != NULL)
			pipe_pool_give(session->worker->pipes, session->directions[i].pipe, false);
	if (session->slot_taken)
		plc_slots_give(session->slots,
			       dialled ? clock_now() + snapshot->config->timeouts.plc_reopen : 0);
	if (session->tries_password) /* not answered: not known to be wrong, it is always the same
				      */
		password_tries_end(&session->plant->tries, false, clock_now());
	if (session->counted)
		account_close(session->account);
	inspection_free(session);
	handshake_job_free(session->job);
	peer_chain_release(session->chain);
	session_walk_pass(session);
	LIST_REMOVE(session, entry);
	admission_give(&session->worker->counters->admission, &session->place);
	atomic_fetch_sub(&session->worker->counters->sessions, 1);
	worker_session_gone(session->worker);
	snapshot_release(snapshot);
	slab_give(&slab, session);
}

void session_settle(struct session *session)
{
	if (session->state == SESSION_CLOSED && nothing_in_flight(session))
		free_session(session);
}

void session_close(struct session *session, enum session_reason reason, const char *detail)
{
	struct timer_heap *timers = ring_timers(session_ring(session));

	if (session->state == SESSION_CLOSED)
		return;
	session->reason = reason;
	inspection_end(session);
	tell_closed(session, detail);
	session_enter(session, SESSION_CLOSED);
	timer_stop(timers, &session->directions[LEG_NEAR].frame_rest);
	timer_stop(timers, &session->directions[LEG_FAR].frame_rest);
	timer_stop(timers, &session->term);
	ring_cancel(session_ring(session), &session->connect);
	for (unsigned int i = 0; i < LEGS; i++)
		relay_splice_cancel(session, i);
	leg_cancel(&session->legs[LEG_NEAR]);
	leg_cancel(&session->legs[LEG_FAR]);
}

/* --- another configuration ------------------------------------------------------------------ */

/* Why a session cannot go on. */
struct withdrawal {
	enum session_reason reason; /* NONE: it can */
	const char *detail;
};

static const struct withdrawal STAYS = {SESSION_REASON_NONE, NULL};

static struct withdrawal by_certificate(const struct peer_review *review)
{
	static const enum session_reason reasons[] = {
		[PEER_GOOD] = SESSION_REASON_NONE,
		[PEER_REVOKED] = SESSION_REASON_CERTIFICATE_REVOKED,
		[PEER_EXPIRED] = SESSION_REASON_CERTIFICATE_EXPIRED,
		[PEER_UNTRUSTED] = SESSION_REASON_CERTIFICATE_UNTRUSTED,
	};

	return (struct withdrawal){reasons[review->standing], review->why};
}

/* Is the peer still one that would be let in? *identity: who it is now, of a gateway's session. */
static struct withdrawal judge_peer(const struct session *session, const struct snapshot *snapshot,
				    const struct config_identity **identity)
{
	const struct tls_context *context =
		snapshot_find_context(snapshot, peer_chain_context(session->chain));
	struct peer_review review;
	struct withdrawal withdrawal;

	if (context == NULL)
		return (struct withdrawal){SESSION_REASON_WITHDRAWN, "its source is gone"};
	peer_chain_review(session->chain, context, &review);
	withdrawal = by_certificate(&review);
	*identity = review.identity;
	if (withdrawal.reason != SESSION_REASON_NONE || session->role == SESSION_EDGE)
		return withdrawal;
	if (*identity == NULL)
		return (struct withdrawal){SESSION_REASON_IDENTITY_WITHDRAWN,
					   "its identity is gone"};
	if (strcmp((*identity)->name, session->identity->name) != 0)
		return (struct withdrawal){SESSION_REASON_IDENTITY_WITHDRAWN,
					   "its certificate is another identity's"};
	return STAYS;
}

static struct withdrawal rebind_gateway(struct session *session, const struct config *config,
					const struct config_identity *identity)
{
	const struct config_gateway *gateway =
		&config->gateways[session->gateway - session->snapshot->config->gateways];
	const struct config_plc *plc = config_find_plc(config, session->plc->name);
	const struct config_port *port =
		plc != NULL ? config_find_port(plc, session->port->number) : NULL;

	if (port == NULL || !address_same_host(&plc->address, &session->plc->address))
		return (struct withdrawal){SESSION_REASON_PLC_WITHDRAWN,
					   "its PLC is gone, or elsewhere"};
	if (!config_identity_may(identity, plc, port))
		return (struct withdrawal){SESSION_REASON_PLC_WITHDRAWN,
					   "its identity may not reach the PLC"};
	if (port->protocol != session->protocol || gateway->inspect != session->gateway->inspect)
		return (struct withdrawal){SESSION_REASON_WITHDRAWN,
					   "what may pass there is judged in another way"};
	session->gateway = gateway;
	session->identity = identity;
	session->plc = plc;
	session->port = port;
	return STAYS;
}

static struct withdrawal rebind_edge(struct session *session, const struct config *config)
{
	const struct config_edge *edge =
		&config->edges[session->edge - session->snapshot->config->edges];
	const struct config_route *route = config_find_route(edge, &session->destination);

	if (route == NULL || route->protocol != session->protocol)
		return (struct withdrawal){SESSION_REASON_WITHDRAWN,
					   "no route covers its destination"};
	session->edge = edge;
	session->route = route;
	return STAYS;
}

void session_rebind(struct session *session, struct snapshot *snapshot)
{
	bool relays = session->state == SESSION_RELAYING || session->state == SESSION_DRAINING;
	const struct config_identity *identity = NULL;
	struct snapshot *old = session->snapshot;
	struct withdrawal withdrawal = STAYS;

	/* One that waits for its first request may wait for long: it is judged as well. */
	if (session->chain != NULL && session->state != SESSION_CLOSED)
		withdrawal = judge_peer(session, snapshot, &identity);
	if (withdrawal.reason == SESSION_REASON_NONE && relays)
		withdrawal = session->role == SESSION_EDGE
				     ? rebind_edge(session, snapshot->config)
				     : rebind_gateway(session, snapshot->config, identity);
	if (withdrawal.reason != SESSION_REASON_NONE) {
		session_close(session, withdrawal.reason, withdrawal.detail);
		return;
	}
	if (!relays)
		return;
	session->sni_plc = NULL; /* has been looked at */
	session->snapshot = snapshot_reference(snapshot);
	snapshot_release(old);
	session_watch_term(session);
}

/* --- how long it may live ----------------------------------------------------------------------
 */

/* The clock may be set meanwhile: a certificate is looked at again after this. */
#define TERM_EACH (3600 * CLOCK_SEC)

/* Whose certificate has ended; NULL: none has. *left: seconds until the first one does. */
static const char *whose_has_ended(const struct session *session, time_t *left)
{
	time_t now = time(NULL), peer = peer_chain_ends(session->chain);

	if (peer <= now)
		return "the other end's";
	if (session->own_ends <= now)
		return "our own";
	*left = (peer < session->own_ends ? peer : session->own_ends) - now;
	return NULL;
}

static void tell_expired(struct session *session, const char *whose)
{
	struct line line;

	if (session->expiry_told)
		return;
	session->expiry_told = true;
	audit_begin(&line, session, LOG_LEVEL_WARNING, "session-certificate-ended");
	line_text(&line, "whose", "%s", whose);
	put_parties(&line, session);
	audit_tell(session, LOG_LEVEL_WARNING, &line);
}

/* Until when nothing is to be done; CLOCK_NEVER: for ever. */
static clock_us judge_expiry(struct session *session, clock_us now)
{
	time_t left = 0;
	const char *whose = whose_has_ended(session, &left);

	if (whose == NULL)
		return now + (left < TERM_EACH / CLOCK_SEC ? left * CLOCK_SEC : TERM_EACH);
	tell_expired(session, whose);
	if (session->snapshot->config->at_expiry == CONFIG_AT_EXPIRY_CLOSE) {
		session->rest_detail = whose;
		relay_end_at_rest(session, SESSION_REASON_CERTIFICATE_EXPIRED);
	}
	return CLOCK_NEVER;
}

static void term_expired(struct timer *timer)
{
	struct session *session = container_of(timer, struct session, term);

	session_watch_term(session);
	session_settle(session);
}

void session_watch_term(struct session *session)
{
	clock_us now = clock_now(), age = session->snapshot->config->timeouts.max_session_age;
	clock_us then = CLOCK_NEVER, aged = session->relayed + age;

	if (session->close_at_rest != SESSION_REASON_NONE)
		return; /* it ends already */
	if (session->chain != NULL)
		then = judge_expiry(session, now);
	if (session->state != SESSION_CLOSED && age > 0 && now >= aged)
		relay_end_at_rest(session, SESSION_REASON_MAX_AGE);
	if (session->state == SESSION_CLOSED)
		return;
	if (age > 0 && aged > now && aged < then)
		then = aged;
	timer_stop(ring_timers(session_ring(session)), &session->term);
	session->term.expired = term_expired;
	if (then != CLOCK_NEVER &&
	    timer_set(ring_timers(session_ring(session)), &session->term, then) < 0)
		session_close(session, SESSION_REASON_NO_MEMORY, NULL);
}

/* --- completions ---------------------------------------------------------------------------- */

static void received(struct session *session, unsigned int leg, const struct op_result *result)
{
	enum leg_event event;

	if (session->state == SESSION_CLOSED) {
		if (result->buffer != NULL)
			ring_buffer_release(session_ring(session), result->buffer);
		return;
	}
	event = leg_received(&session->legs[leg], result);
	if (session->state == SESSION_RELAYING || session->state == SESSION_DRAINING)
		relay_received(session, leg, event);
	else
		session_setup_received(session, leg, event);
}

static void sent(struct session *session, unsigned int leg, int error)
{
	if (session->state == SESSION_CLOSED)
		return;
	if (error < 0)
		session_close(session,
			      leg == LEG_NEAR ? SESSION_REASON_CLIENT_LOST
					      : SESSION_REASON_TARGET_LOST,
			      strerrordesc_np(-error));
	else if (session->state == SESSION_RELAYING || session->state == SESSION_DRAINING)
		relay_sent(session, leg);
}

static void assert_accepted(const struct session *session, enum session_completion completion)
{
	assert(session_states[session->state].accepts & BIT(completion));
	(void)session;
	(void)completion;
}

static void completed(struct op_owner *owner, struct op *op, const struct op_result *result)
{
	struct session *session = container_of(owner, struct session, owner);
	struct leg *leg = &session->legs[op->tag];

	if (op == &session->connect) {
		assert_accepted(session, SESSION_ON_CONNECT);
		if (session->state != SESSION_CLOSED)
			session_setup_connected(session, result->res);
	} else if (op == &leg->recv) {
		assert_accepted(session, SESSION_ON_RECV);
		received(session, op->tag, result);
	} else {
		assert_accepted(session, SESSION_ON_SEND);
		if (op == &leg->send)
			sent(session, op->tag, leg_sent(leg, result));
		else if (op == &leg->writable)
			sent(session, op->tag, leg_writable(leg, result));
		else
			relay_splice_completed(session, op->tag, op, result);
	}
	session_settle(session);
}

static void expired(struct timer *timer)
{
	struct session *session = container_of(timer, struct session, deadline);

	assert_accepted(session, SESSION_ON_DEADLINE);
	if (session->state == SESSION_DRAINING)
		relay_expired(session);
	else
		session_setup_expired(session);
	session_settle(session);
}

static bool take_place(struct counters *counters, unsigned int limit)
{
	if (atomic_fetch_add(&counters->sessions, 1) < limit)
		return true;
	atomic_fetch_sub(&counters->sessions, 1);
	return false;
}

/* The listener's refusal: there is no session yet to tell it. */
static int refuse(struct worker *worker, int fd, const struct address *peer,
		  enum admission_reason reason)
{
	struct counters *counters = worker->counters;
	unsigned int untold;
	char text[ADDRESS_TEXT_SIZE];
	struct log_entry entry;

	close(fd);
	atomic_fetch_add(&counters->not_accepted[reason], 1);
	/* Whoever floods must not fill the log, too. */
	if (!admission_may_tell(&counters->admission, clock_now(), &untold))
		return -ENOMEM;
	log_begin(&entry, LOG_LEVEL_WARNING, "connection-refused");
	log_field(&entry, "reason", "%s", admission_reason_name(reason));
	log_field(&entry, "client", "%s", address_print(peer, text));
	if (untold > 0)
		log_field(&entry, "untold", "%u", untold);
	log_end(&entry);
	return -ENOMEM;
}

static void start_side(struct session *session, unsigned int side)
{
	struct op splice = {.owner = &session->owner, .tag = (uint8_t)side};

	leg_init(&session->legs[side], session->worker->ring, session->worker->buffers,
		 &session->owner, (uint8_t)side);
	session->directions[side].into = splice;
	session->directions[side].out = splice;
}

int session_new(struct worker *worker, struct snapshot *snapshot, const struct config_edge *edge,
		const struct config_gateway *gateway, int fd)
{
	struct address client = {.any.sa_family = AF_UNSPEC};
	struct admission_place place;
	enum admission_reason reason;
	struct session *session = NULL;

	(void)socket_peer(fd, &client);
	if (!take_place(worker->counters, snapshot->config->limits.sessions))
		return refuse(worker, fd, &client, ADMISSION_SESSIONS);
	reason = admission_take(&worker->counters->admission, snapshot->config, edge, gateway,
				&client, &place);
	if (reason == ADMISSION_GRANTED)
		session = slab_take(&slab);
	if (session == NULL) {
		admission_give(&worker->counters->admission, &place);
		atomic_fetch_sub(&worker->counters->sessions, 1);
		return refuse(worker, fd, &client,
			      reason != ADMISSION_GRANTED ? reason : ADMISSION_NO_MEMORY);
	}
	session->place = place;
	session->owner.complete = completed;
	session->worker = worker;
	session->snapshot = snapshot_reference(snapshot);
	session->id = atomic_fetch_add(&worker->counters->next_id, 1) + 1;
	session->role = edge != NULL ? SESSION_EDGE : SESSION_GATEWAY;
	session->edge = edge;
	session->gateway = gateway;
	session->started = clock_now();
	session->deadline.expired = expired;
	session->connect.owner = &session->owner;
	for (unsigned int i = 0; i < LEGS; i++)
		start_side(session, i);
	leg_open(&session->legs[LEG_NEAR], fd);
	worker_session_added(worker, session);
	atomic_fetch_add(&worker->counters->accepted[session->role], 1);
	session_setup_begin(session);
	session_settle(session);
	return 0;
}
