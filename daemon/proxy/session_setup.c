/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * An edge knows where to go before it dials: the original destination and the source rules are
 * asked at once, then the route's gateways are tried in order, each getting an equal share of
 * what is left of the time, because a client gives up soon (pymcprotocol after 2 s) and a dead
 * gateway must not eat all of it. The PROXY header leaves right after arming.
 *
 * A gateway does nothing towards a PLC before the handshake has verified and mapped the client's
 * certificate. It then learns the target from the PROXY header (edges), from the listener's fixed
 * PLC, or from SNI, in this order, waits for a free slot of the PLC, and dials.
 */
#include "proxy/session_setup.h"

#include "base/error.h"
#include "net/client_owner.h"
#include "net/origdst.h"
#include "net/proxy_header.h"
#include "net/socket.h"
#include "proxy/counters.h"
#include "proxy/plc_password.h"
#include "proxy/relay.h"
#include "proxy/worker.h"

#include <errno.h>
#include <string.h>

/* How soon to ask again while an identity has all its connections. */
#define ASK_AGAIN (20 * CLOCK_MS)

static const struct config_timeouts *timeouts(const struct session *session)
{
	return &session->snapshot->config->timeouts;
}

static void close_internal(struct session *session, const char *call, int error)
{
	char detail[HANDSHAKE_REASON_SIZE];

	if (error == -ENOMEM) {
		session_close(session, SESSION_REASON_NO_MEMORY, NULL);
		return;
	}
	snprintf(detail, sizeof(detail), "%s: %s", call, strerrordesc_np(-error));
	session_close(session, SESSION_REASON_INTERNAL, detail);
}

/* --- edge: who and where ------------------------------------------------------------------ */

static bool has_address(const struct config_source *source, const struct address *client)
{
	for (size_t i = 0; i < source->address_count; i++)
		if (address_in_prefix(client, &source->addresses[i]))
			return true;
	return source->address_count == 0;
}

static bool has_user(const struct config_source *source, const struct client_owner *owner)
{
	for (size_t i = 0; owner != NULL && i < source->user_count; i++)
		if (source->users[i] == owner->uid)
			return true;
	return source->user_count == 0;
}

static bool has_cgroup(const struct config_source *source, const struct client_owner *owner)
{
	for (size_t i = 0; owner != NULL && i < source->cgroups.count; i++)
		if (client_owner_in_cgroup(owner, source->cgroups.items[i]))
			return true;
	return source->cgroups.count == 0;
}

static bool edge_asks_owner(const struct config_edge *edge)
{
	for (size_t i = 0; i < edge->source_count; i++)
		if (edge->sources[i].user_count > 0 || edge->sources[i].cgroups.count > 0)
			return true;
	return false;
}

/* Whose program the client is. False: nobody's whom this host knows. */
static bool find_owner(const struct session *session, struct client_owner *owner)
{
	/* The client's socket knows the address that it dialled, before any redirect. */
	int outcome = client_owner_get(&session->client, &session->destination, owner);

	if (outcome < 0)
		log_simple(LOG_LEVEL_WARNING, "client-owner-unknown", "error", "%s",
			   strerrordesc_np(-outcome));
	if (outcome == CLIENT_OWNER_AMONG)
		return socket_is_established(session->legs[LEG_NEAR].fd);
	return outcome == 0;
}

/* The first source rule that covers the client. A fault on the way covers nobody. */
static const struct config_source *find_source(struct session *session)
{
	const struct config_edge *edge = session->edge;
	struct client_owner answer, *owner = NULL;

	if (edge_asks_owner(edge) && find_owner(session, &answer))
		owner = &answer;
	for (size_t i = 0; i < edge->source_count; i++) {
		const struct config_source *source = &edge->sources[i];

		if (has_address(source, &session->client) && has_user(source, owner) &&
		    has_cgroup(source, owner))
			return source;
	}
	return NULL;
}

/* TPROXY leaves the packet as it is: the socket's own end is where the client wanted to go. */
static int tproxied_destination(const struct session *session, struct address *destination)
{
	int error = socket_local(session->legs[LEG_NEAR].fd, destination);

	for (size_t i = 0; error == 0 && i < session->edge->listen_count; i++)
		if (address_equal(destination, &session->edge->listen[i]))
			return ORIGDST_NOT_REDIRECTED;
	return error;
}

static bool find_destination(struct session *session)
{
	int outcome;

	if (!session->edge->transparent) {
		/* The owner look-up needs what the client dialled; the route, where it leads. */
		outcome = socket_local(session->legs[LEG_NEAR].fd, &session->destination);
	} else if (session->edge->interception == CONFIG_INTERCEPTION_TPROXY) {
		outcome = tproxied_destination(session, &session->destination);
	} else {
		outcome = origdst_get(session->legs[LEG_NEAR].fd, &session->destination);
	}
	if (outcome == ORIGDST_NOT_REDIRECTED)
		session_close(session, SESSION_REASON_NOT_REDIRECTED, NULL);
	else if (outcome < 0)
		close_internal(session, "original destination", outcome);
	return outcome == 0;
}

static void dial_gateway(struct session *session);

static void resolve_edge(struct session *session)
{
	const struct config_edge *edge = session->edge;
	const struct config_source *source;

	session_enter(session, SESSION_RESOLVING);
	if (!find_destination(session))
		return;
	source = find_source(session);
	if (source == NULL) {
		session_close(session, SESSION_REASON_SOURCE_REFUSED, NULL);
		return;
	}
	if (!edge->transparent)
		session->destination = edge->destination;
	session->context = snapshot_source_context(session->snapshot, edge, source);
	session->route = config_find_route(edge, &session->destination);
	if (session->route == NULL) {
		session_close(session, SESSION_REASON_NO_ROUTE, NULL);
		return;
	}
	session->protocol = session->route->protocol;
	session->dial_until = clock_now() + timeouts(session)->dial_gateway;
	dial_gateway(session);
}

/* --- dialling, both roles ------------------------------------------------------------------- */

static int dial(struct session *session, const struct address *target)
{
	int fd;
	int error = socket_dial(target, &session->snapshot->socket_options, &fd);

	if (error < 0)
		return error;
	leg_open(&session->legs[LEG_FAR], fd);
	ring_connect(session_ring(session), &session->connect, fd, target);
	return 0;
}

/* An equal share of the time left for each gateway not yet tried. */
static clock_us share_of_time(const struct session *session)
{
	clock_us left = session->dial_until - clock_now();
	size_t untried = session->route->gateway_count - session->gateway_at;

	return left > 0 ? left / (clock_us)untried : 0;
}

static void dial_gateway(struct session *session)
{
	int error;

	session_enter(session, SESSION_DIALING);
	error = dial(session, &session->route->gateways[session->gateway_at]);
	if (error < 0)
		close_internal(session, "dial", error);
	else
		session_set_deadline(session, clock_now() + share_of_time(session));
}

/* This gateway will not do; the next one may. */
static void gateway_failed(struct session *session, const char *why)
{
	char text[ADDRESS_TEXT_SIZE], detail[HANDSHAKE_REASON_SIZE];
	const struct address *gateway = &session->route->gateways[session->gateway_at];
	struct log_entry entry;

	snprintf(detail, sizeof(detail), "%s: %s", address_print(gateway, text), why);
	log_begin(&entry, LOG_LEVEL_WARNING, "gateway-failed");
	log_field(&entry, "session", "%llu", (unsigned long long)session->id);
	log_field(&entry, "gateway", "%s", text);
	log_field(&entry, "detail", "%s", why);
	log_end(&entry);
	leg_close(&session->legs[LEG_FAR]);
	session->gateway_at++;
	if (session->gateway_at == session->route->gateway_count || share_of_time(session) == 0)
		session_close(session, SESSION_REASON_GATEWAYS_FAILED, detail);
	else
		dial_gateway(session);
}

/* --- handshake, both roles ------------------------------------------------------------------ */

static void shaken(struct message *message)
{
	struct handshake_job *job = container_of(message, struct handshake_job, message);
	struct session *session = *(struct session **)(job + 1);

	session->message_pending = false;
	if (session->state != SESSION_CLOSED)
		session_setup_shaken(session);
	session_settle(session);
}

/* The job and, behind it, the way back to its session. */
static struct handshake_job *new_job(struct session *session)
{
	struct handshake_job *job = calloc(1, sizeof(*job) + sizeof(session));

	if (job == NULL)
		return NULL;
	*(struct session **)(job + 1) = session;
	job->message.deliver = shaken;
	job->reply_to = &session->worker->inbox;
	return job;
}

static void shake_hands(struct session *session, const struct tls_context *context, int fd,
			clock_us time_allowed)
{
	struct handshake_job *job = new_job(session);

	if (job == NULL) {
		session_close(session, SESSION_REASON_NO_MEMORY, NULL);
		return;
	}
	session_enter(session, SESSION_HANDSHAKING);
	job->context = context;
	job->fd = fd;
	job->time_allowed = time_allowed;
	job->source = admission_source(&session->client);
	job->ktls = config_ktls(session->snapshot->config, session->edge, session->gateway);
	if (session->role == SESSION_EDGE) {
		job->server.address = session->route->gateways[session->gateway_at];
		job->server.name = session->route->server_name;
		job->server.mcseal = session->route->proxy_header;
	}
	session->job = job;
	session->message_pending = true;
	handshake_pool_start(session->worker->pool, job);
}

static void handshake_failed(struct session *session, int result, const char *why)
{
	if (session->role == SESSION_EDGE)
		gateway_failed(session, why);
	else if (result == -ETIMEDOUT)
		session_close(session, SESSION_REASON_HANDSHAKE_TIMEOUT, why);
	else if (result == -EBUSY)
		session_close(session, SESSION_REASON_HANDSHAKE_EVICTED, why);
	else if (result == -EPROTO)
		session_close(session, SESSION_REASON_HANDSHAKE_FAILED, why);
	else
		close_internal(session, "handshake", result);
}

static void remember_peer(struct session *session, const struct handshake_peer *peer)
{
	session->identity = peer->identity;
	session->mcseal = peer->mcseal;
	snprintf(session->serial, sizeof(session->serial), "%s", peer->serial);
	if (peer->server_name[0] != '\0')
		session->sni_plc =
			config_find_plc_by_sni(session->snapshot->config, peer->server_name);
}

static void after_arming(struct session *session);

/* The record layer takes over; from here on nobody else touches the socket. */
static void arm(struct session *session)
{
	struct handshake_job *job = session->job;
	struct leg *leg = &session->legs[session->role == SESSION_EDGE ? LEG_FAR : LEG_NEAR];

	session_enter(session, SESSION_ARMING);
	session->tls_version = job->tls_version;
	session->tls_cipher = job->tls_cipher;
	session->resumed = job->resumed;
	session->user_why = job->user_why;
	remember_peer(session, &job->peer);
	leg->kernel = job->kernel;
	leg->tls = job->stream;
	job->kernel = NULL;
	job->stream = NULL;
	session->chain = job->chain;
	session->own_ends = job->own_ends;
	job->chain = NULL;
	handshake_job_free(job);
	session->job = NULL;
	after_arming(session);
}

static void log_refused_peer(const struct session *session, const struct handshake_peer *peer)
{
	struct log_entry entry;

	if (peer->subject[0] == '\0')
		return;
	log_begin(&entry, LOG_LEVEL_WARNING, "peer-refused");
	log_field(&entry, "session", "%llu", (unsigned long long)session->id);
	log_field(&entry, "subject", "%s", peer->subject);
	log_field(&entry, "serial", "%s", peer->serial);
	log_field(&entry, "detail", "%s", peer->reason);
	log_end(&entry);
}

void session_setup_shaken(struct session *session)
{
	struct handshake_job *job = session->job;

	counters_shaken(session->worker->counters, session, job->result, job->resumed);
	if (job->result == 0) {
		arm(session);
		return;
	}
	log_refused_peer(session, &job->peer);
	session->job = NULL;
	handshake_failed(session, job->result,
			 job->peer.reason[0] ? job->peer.reason : strerrordesc_np(-job->result));
	free(job);
}

/* --- after arming ------------------------------------------------------------------------------
 */

/* An edge says whom it carries and where to. The header is a record of its own. */
static void send_proxy_header(struct session *session)
{
	uint8_t header[PROXY_HEADER_MAX];
	size_t size = proxy_header_write(header, &session->client, &session->destination);

	if (leg_send(&session->legs[LEG_FAR], header, size) < 0)
		session_close(session, SESSION_REASON_NO_MEMORY, NULL);
	else
		relay_start(session);
}

static void find_plc(struct session *session);

static void after_arming(struct session *session)
{
	if (session->role == SESSION_EDGE) {
		if (session->mcseal)
			send_proxy_header(session);
		else
			relay_start(session); /* a foreign TLS server in front of one PLC */
		return;
	}
	session_enter(session, SESSION_RESOLVING);
	if (!session->mcseal) {
		find_plc(session);
	} else if (!session->identity->edge) {
		session_close(session, SESSION_REASON_ALPN_REFUSED, NULL);
	} else {
		session_set_deadline(session, clock_now() + timeouts(session)->proxy_header);
		if (session->state != SESSION_CLOSED)
			leg_receive(&session->legs[LEG_NEAR], true);
	}
}

/* --- gateway: which PLC, and its slot ------------------------------------------------------------
 */

static void dial_plc(struct session *session);

static bool find_plant(struct session *session)
{
	struct plant *plant = session->snapshot->plant;

	session->plant = plant_find(plant, session->plc);
	session->slots = plant_slots(plant, session->plant, session->port->number);
	session->account = plant_account(plant, session->plant, session->identity->name);
	return session->account != NULL;
}

static void begin_dialing(struct session *session)
{
	session_enter(session, SESSION_DIALING);
	session->slot_until = clock_now() + timeouts(session)->slot_wait;
	dial_plc(session);
}

/* The password goes in the kind of frame that the client uses, so that has to be known first. */
static bool dials_late(const struct config_plc *plc)
{
	return plc->dial == CONFIG_DIAL_FIRST_REQUEST ||
	       plc->remote_password == CONFIG_PASSWORD_GATEWAY;
}

/* How much of the first request is there? */
static enum mc_split split_first(const struct session *session, struct mc_frame *frame)
{
	const struct buffer *input = &session->legs[LEG_NEAR].input;

	return mc_stream_split(&session->stream, MC_REQUEST, buffer_bytes(input),
			       buffer_size(input), session->snapshot->config->limits.frame, frame);
}

static void look_at_first(struct session *session)
{
	struct leg *near = &session->legs[LEG_NEAR];
	bool begun = buffer_size(&near->input) > 0;
	struct mc_frame frame;
	enum mc_split split = split_first(session, &frame);

	if (begun && split == MC_SPLIT_FRAME) {
		leg_receive(near, false);
		begin_dialing(session);
	} else if (split == MC_SPLIT_BAD) {
		session_close(
			session, SESSION_REASON_BAD_REQUEST,
			mc_stream_foreign(buffer_bytes(&near->input), buffer_size(&near->input)));
	} else if (near->ended && begun) {
		session_close(session, SESSION_REASON_CLIENT_TRUNCATED,
			      "connection ended inside a frame");
	} else if (near->ended) {
		session_close(session, SESSION_REASON_FINISHED, "nothing was asked");
	} else if (begun && !timer_is_set(&session->deadline)) {
		session_set_deadline(session, clock_now() + timeouts(session)->frame_rest);
	}
}

/* A client that asks nothing takes no connection of the PLC's. */
static void await_request(struct session *session)
{
	session_enter(session, SESSION_AWAITING);
	look_at_first(session);
	if (session->state == SESSION_AWAITING)
		leg_receive(&session->legs[LEG_NEAR], true);
}

static void plc_found(struct session *session)
{
	if (session->plc == NULL || session->port == NULL) {
		session_close(session, SESSION_REASON_PLC_UNKNOWN, NULL);
		return;
	}
	if (!config_identity_may(session->identity, session->plc, session->port)) {
		session_close(session, SESSION_REASON_PLC_NOT_ALLOWED, NULL);
		return;
	}
	session->protocol = session->port->protocol;
	session->destination = session->plc->address;
	address_set_port(&session->destination, session->port->number);
	if (!find_plant(session)) {
		session_close(session, SESSION_REASON_NO_MEMORY, NULL);
		return;
	}
	if (session->protocol == CONFIG_PROTOCOL_MC && dials_late(session->plc))
		await_request(session);
	else
		begin_dialing(session);
}

/* Without a PROXY header: the listener's own PLC, or the one that SNI names. */
static void find_plc(struct session *session)
{
	const struct config_gateway *gateway = session->gateway;

	if (gateway->plc != NULL) {
		session->plc = gateway->plc;
		session->port = config_find_port(session->plc, gateway->fixed_port);
	} else if (session->sni_plc != NULL) {
		session->plc = session->sni_plc;
		session->port = config_find_port(session->plc, 0);
	}
	plc_found(session);
}

static void read_proxy_header(struct session *session)
{
	struct buffer *input = &session->legs[LEG_NEAR].input;
	struct address client, destination;
	size_t consumed;
	int outcome = proxy_header_parse(buffer_bytes(input), buffer_size(input), &client,
					 &destination, &consumed);

	if (outcome == PROXY_HEADER_MORE && !session->legs[LEG_NEAR].ended)
		return;
	if (outcome == PROXY_HEADER_MORE) {
		session_close(session, SESSION_REASON_PROXY_HEADER_BAD, "closed inside it");
		return;
	}
	if (outcome < 0) {
		session_close(session, SESSION_REASON_PROXY_HEADER_BAD, NULL);
		return;
	}
	buffer_consume(input, consumed);
	leg_receive(&session->legs[LEG_NEAR], false);
	session->edge_address = session->client;
	session->client = client;
	session->destination = destination;
	session->plc =
		config_find_plc_by_address(session->snapshot->config, &destination, &session->port);
	plc_found(session);
}

static void look_at_unlocked(struct session *session, enum leg_event event);

void session_setup_received(struct session *session, unsigned int from, enum leg_event event)
{
	const struct leg *leg = &session->legs[LEG_NEAR];

	if (from == LEG_FAR) {
		look_at_unlocked(session, event);
		return;
	}
	/* While the PLC is dialled, bytes only pile up; their faults count all the same. */
	if (event == LEG_FAULT)
		session_close(session, SESSION_REASON_CLIENT_TLS, leg_reason(leg));
	else if (event == LEG_TRUNCATED)
		session_close(session, SESSION_REASON_CLIENT_TRUNCATED,
			      "connection ended without close_notify");
	else if (event == LEG_ERROR)
		session_close(session, SESSION_REASON_CLIENT_LOST, strerrordesc_np(-leg->error));
	else if (session->state == SESSION_AWAITING)
		look_at_first(session);
	else if (session->state == SESSION_RESOLVING && buffer_size(&leg->input) > 0)
		read_proxy_header(session);
	else if (session->state == SESSION_RESOLVING && event == LEG_END)
		session_close(session, SESSION_REASON_PROXY_HEADER_BAD, "closed before it");
}

/* 0, or PLC_SLOTS_WAIT: the identity has all the connections that its policy gives it, or the PLC.
 */
static int take_slot(struct session *session, clock_us now, clock_us *retry)
{
	const struct config_policy *policy = config_policy_of(session->identity, session->plc);

	if (!session->counted)
		session->counted =
			account_open(session->account, policy != NULL ? policy->connections : 0);
	*retry = now + ASK_AGAIN;
	return session->counted ? plc_slots_take(session->slots, now, retry) : PLC_SLOTS_WAIT;
}

static void dial_plc(struct session *session)
{
	clock_us now = clock_now(), retry;
	int error;

	if (take_slot(session, now, &retry) == PLC_SLOTS_WAIT) {
		if (now >= session->slot_until)
			session_close(session, SESSION_REASON_PLC_BUSY, NULL);
		else
			session_set_deadline(
				session, retry < session->slot_until ? retry : session->slot_until);
		return;
	}
	session->slot_taken = true;
	error = dial(session, &session->destination);
	if (error < 0)
		close_internal(session, "dial", error);
	else
		session_set_deadline(session, now + timeouts(session)->dial_plc);
}

/* --- gateway: the remote password ---------------------------------------------------------------
 */

/* The answer to the password came; `end_code` is the PLC's. */
static void unlocked(struct session *session, uint16_t end_code)
{
	char detail[64];

	password_tries_end(&session->plant->tries, end_code != 0, clock_now());
	session->tries_password = false;
	if (end_code == 0) {
		relay_start(session);
		return;
	}
	snprintf(detail, sizeof(detail), "the PLC says %04X, %s", end_code,
		 mc_command_end_code_name(MC_FAMILY_3E, end_code));
	session_close(session, SESSION_REASON_PLC_PASSWORD, detail);
}

/* Something came from the PLC while it is unlocked. */
static void look_at_unlocked(struct session *session, enum leg_event event)
{
	struct leg *far = &session->legs[LEG_FAR];
	struct mc_stream stream = session->stream;
	struct mc_answer answer;
	struct mc_frame frame;
	enum mc_split split = mc_stream_split(&stream, MC_ANSWER, buffer_bytes(&far->input),
					      buffer_size(&far->input),
					      session->snapshot->config->limits.frame, &frame);

	if (event == LEG_ERROR) {
		session_close(session, SESSION_REASON_TARGET_LOST, strerrordesc_np(-far->error));
	} else if (buffer_size(&far->input) > 0 && split == MC_SPLIT_FRAME &&
		   mc_frame_parse_answer(buffer_bytes(&far->input), frame.length, stream.code,
					 &answer) == 0) {
		buffer_consume(&far->input, frame.length);
		session->stream = (struct mc_stream){.family = MC_FAMILY_NONE};
		unlocked(session, answer.end_code);
	} else if (split == MC_SPLIT_BAD || split == MC_SPLIT_FRAME) {
		session_close(session, SESSION_REASON_BAD_ANSWER, "to the remote password");
	} else if (far->ended) {
		session_close(session, SESSION_REASON_TARGET_LOST,
			      "closed instead of answering the remote password");
	}
}

static bool send_password(struct session *session)
{
	const struct config *config = session->snapshot->config;
	struct buffer *input = &session->legs[LEG_NEAR].input;
	uint8_t bytes[PLC_PASSWORD_REQUEST_SIZE];
	struct mc_request first;
	struct mc_frame frame;
	size_t size;
	int error;

	/* It was whole when the PLC was dialled. */
	split_first(session, &frame);
	if (mc_frame_parse_request(buffer_bytes(input), frame.length, &first) < 0) {
		session_close(session, SESSION_REASON_BAD_REQUEST, "not a request");
		return false;
	}
	size = plc_password_request(session->snapshot->passwords[session->plc - config->plcs],
				    &first, bytes);
	mc_stream_split(&session->stream, MC_REQUEST, bytes, size, config->limits.frame, &frame);
	mc_stream_passed(&session->stream, MC_REQUEST, bytes, &frame);
	error = leg_send(&session->legs[LEG_FAR], bytes, size);
	explicit_bzero(bytes, sizeof(bytes));
	if (error < 0)
		close_internal(session, "send", error);
	return error == 0;
}

/* A connection is locked until it has sent the password, and locked again when it ends. */
static void unlock(struct session *session)
{
	clock_us now = clock_now();

	session_enter(session, SESSION_UNLOCKING);
	session->tries_password = password_tries_begin(&session->plant->tries, now);
	if (!session->tries_password) {
		session_close(session, SESSION_REASON_PLC_PASSWORD,
			      "it was wrong too often to be tried again now");
		return;
	}
	if (!send_password(session))
		return;
	leg_receive(&session->legs[LEG_FAR], true);
	session_set_deadline(session, now + timeouts(session)->answer);
}

/* --- completions ---------------------------------------------------------------------------------
 */

void session_setup_connected(struct session *session, int res)
{
	int far = session->legs[LEG_FAR].fd;

	if (session->role == SESSION_GATEWAY) {
		if (res < 0)
			session_close(session,
				      res == -ECANCELED ? SESSION_REASON_PLC_TIMEOUT
							: SESSION_REASON_PLC_REFUSED,
				      res == -ECANCELED ? NULL : strerrordesc_np(-res));
		else if (session->plc->remote_password == CONFIG_PASSWORD_GATEWAY &&
			 session->protocol == CONFIG_PROTOCOL_MC)
			unlock(session);
		else
			relay_start(session);
		return;
	}
	if (res < 0)
		gateway_failed(session,
			       res == -ECANCELED ? "no answer in time" : strerrordesc_np(-res));
	else
		shake_hands(session, session->context, far, share_of_time(session));
}

void session_setup_expired(struct session *session)
{
	if (session->state == SESSION_RESOLVING)
		session_close(session, SESSION_REASON_PROXY_HEADER_TIMEOUT, NULL);
	else if (session->state == SESSION_AWAITING)
		session_close(session, SESSION_REASON_REQUEST_INCOMPLETE, NULL);
	else if (session->state == SESSION_UNLOCKING)
		session_close(session, SESSION_REASON_ANSWER_TIMEOUT, "to the remote password");
	else if (session->role == SESSION_GATEWAY && !session->slot_taken)
		dial_plc(session);
	else
		/* The dial; its end, cancelled or not, is judged by session_setup_connected(). */
		ring_cancel(session_ring(session), &session->connect);
}

/* Before the handshake, which costs more than the question. */
static void greet(struct session *session)
{
	const struct config_gateway *gateway = session->gateway;
	bool welcome = gateway->client_count == 0;

	for (size_t i = 0; i < gateway->client_count && !welcome; i++)
		welcome = address_in_prefix(&session->client, &gateway->clients[i]);
	if (welcome)
		shake_hands(
			session,
			session->snapshot->gateways[gateway - session->snapshot->config->gateways],
			session->legs[LEG_NEAR].fd, timeouts(session)->handshake);
	else
		session_close(session, SESSION_REASON_SOURCE_REFUSED, NULL);
}

void session_setup_begin(struct session *session)
{
	struct leg *near = &session->legs[LEG_NEAR];
	int error = socket_peer(near->fd, &session->client);

	if (error == 0)
		error = socket_prepare(near->fd, &session->snapshot->socket_options);
	if (error < 0) {
		/* ENOTCONN, EINVAL: the client is gone already. */
		session_close(session, SESSION_REASON_CLIENT_LOST, strerrordesc_np(-error));
		return;
	}
	if (session->role == SESSION_EDGE)
		resolve_edge(session);
	else
		greet(session);
}
