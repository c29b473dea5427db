/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The session table: every state x every completion, in both roles, without a kernel.
 *
 * The seams are ring, sockets, handshakes and record layer: all their functions are defined here,
 * so the session code is driven completion by completion. Named cases check what each state does
 * with each thing that can come in; random walks check that whatever the order, a session ends
 * once, gives back its slot, its descriptors, its buffers and its memory.
 */
#include "fake_ring.h"

#include "base/error.h"
#include "net/client_owner.h"
#include "net/origdst.h"
#include "net/proxy_header.h"
#include "proxy/counters.h"
#include "proxy/relay.h"
#include "proxy/session.h"
#include "proxy/session_setup.h"
#include "proxy/worker.h"

#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* --- the seams ------------------------------------------------------------------------------- */

static struct ring fake;
static struct handshake_job *posted; /* the job that waits for an answer */
static int dial_error;
static int origdst_outcome;
static int owner_outcome;
static struct client_owner owner_answer;
static bool established; /* the accepted connection, when its owner is looked for */
static int open_descriptors;
static bool keys_to_kernel; /* handshakes end with the keys in the kernel */

static int open_descriptor(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0); /* one that can be shut down */

	assert_true(fd >= 0);
	return fd;
}

/* Descriptors of this process: what a session leaves open shows. */
static int count_descriptors(void)
{
	int count = 0;

	for (int fd = 0; fd < 256; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

int socket_listen(const struct address *address, bool shared, int *fd)
{
	(void)address;
	(void)shared;
	*fd = -1;
	return -EADDRINUSE;
}

int socket_make_transparent(int fd, const struct address *address)
{
	(void)fd;
	(void)address;
	return -EPERM;
}

int socket_dial(const struct address *address, const struct socket_options *options, int *fd)
{
	(void)address;
	(void)options;
	if (dial_error < 0)
		return dial_error;
	*fd = open_descriptor();
	return 0;
}

int socket_prepare(int fd, const struct socket_options *options)
{
	(void)fd;
	(void)options;
	return 0;
}

int socket_peer(int fd, struct address *address)
{
	(void)fd;
	return address_parse("192.0.2.7:40000", address);
}

int socket_local(int fd, struct address *address)
{
	(void)fd;
	return address_parse("192.0.2.1:15007", address);
}

bool socket_is_established(int fd)
{
	(void)fd;
	return established;
}

int socket_probe_mark(uint32_t mark)
{
	(void)mark;
	return 0;
}

int origdst_get(int fd, struct address *destination)
{
	(void)fd;
	return origdst_outcome ? origdst_outcome : address_parse("10.30.0.10:5007", destination);
}

int client_owner_get(const struct address *client, const struct address *dialled,
		     struct client_owner *owner)
{
	(void)client;
	(void)dialled;
	*owner = owner_answer;
	return owner_outcome;
}

bool client_owner_in_cgroup(const struct client_owner *owner, const char *path)
{
	(void)owner;
	(void)path;
	return false;
}

void handshake_job_free(struct handshake_job *job)
{
	if (job == NULL)
		return;
	free(job->stream);
	free(job->kernel);
	free(job);
}

void handshake_pool_start(struct handshake_pool *pool, struct handshake_job *job)
{
	(void)pool;
	assert_null(posted);
	posted = job;
}

/* A record layer that changes nothing: 'C' alone is close_notify, 'X' alone a broken record. */
struct tls_stream {
	int unused;
};

/* Records of the kernel: the test says what comes out when something other than data is there. */
struct ktls_control {
	int unused;
};

static struct {
	int control;      /* what ktls_control_receive() finds */
	int said_closed;  /* what saying close_notify comes to */
	bool update_due;  /* until it was done */
	int update;       /* what it comes to */
	uint64_t records; /* under each key */
	int refresh;      /* what asking for new keys comes to */
	int closed, updates, refreshes;
} kernel;

void ktls_control_free(struct ktls_control *control)
{
	free(control);
}

int ktls_control_receive(struct ktls_control *control, clock_us now)
{
	(void)control;
	(void)now;
	return kernel.control;
}

bool ktls_control_broken(struct ktls_control *control, int error)
{
	(void)control, (void)error;
	return false;
}

bool ktls_control_update_due(const struct ktls_control *control)
{
	(void)control;
	return kernel.update_due;
}

int ktls_control_update(struct ktls_control *control)
{
	(void)control;
	if (kernel.update == 0) {
		kernel.update_due = false;
		kernel.updates++;
	}
	return kernel.update;
}

int ktls_control_say_closed(struct ktls_control *control)
{
	(void)control;
	if (kernel.said_closed == 0)
		kernel.closed++;
	return kernel.said_closed;
}

int ktls_control_use(const struct ktls_control *control, enum traffic_direction direction,
		     uint64_t *records)
{
	(void)control;
	(void)direction;
	*records = kernel.records;
	return 0;
}

int ktls_control_refresh(struct ktls_control *control)
{
	(void)control;
	kernel.refreshes++;
	return kernel.refresh;
}

const char *ktls_control_reason(const struct ktls_control *control)
{
	(void)control;
	return "test";
}

void tls_stream_free(struct tls_stream *stream)
{
	free(stream);
}

int tls_stream_unwrap(struct tls_stream *stream, const uint8_t *records, size_t size,
		      int (*deliver)(void *owner, const uint8_t *bytes, size_t size), void *owner)
{
	(void)stream;
	if (size == 1 && records[0] == 'C')
		return TLS_STREAM_CLOSED;
	if (size == 1 && records[0] == 'X')
		return -EPROTO;
	return deliver(owner, records, size);
}

int tls_stream_wrap(struct tls_stream *stream, const uint8_t *bytes, size_t size, uint8_t *records,
		    size_t *used)
{
	(void)stream;
	memcpy(records, bytes, size);
	*used = size;
	return 0;
}

int tls_stream_wrap_close(struct tls_stream *stream, uint8_t *records, size_t *used)
{
	(void)stream;
	records[0] = 'C';
	*used = 1;
	return 0;
}

size_t tls_stream_replies(struct tls_stream *stream, uint8_t *records)
{
	(void)stream;
	(void)records;
	return 0;
}

void tls_stream_use(const struct tls_stream *stream, uint64_t *received, uint64_t *sent)
{
	(void)stream;
	*received = *sent = kernel.records;
}

int tls_stream_refresh(struct tls_stream *stream)
{
	(void)stream;
	kernel.refreshes++;
	return kernel.refresh;
}

const char *tls_stream_reason(const struct tls_stream *stream)
{
	(void)stream;
	return "test";
}

int tls_context_new(const struct config *config, const struct config_credentials *credentials,
		    enum tls_role role, const char *where, FILE *report,
		    struct tls_context **context)
{
	(void)config;
	(void)credentials;
	(void)where;
	(void)report;
	*context = calloc(1, sizeof(**context));
	(*context)->role = role;
	return 0;
}

void tls_context_free(struct tls_context *context)
{
	free(context);
}

/* --- the world ----------------------------------------------------------------------------------
 */

static struct config_port ports[] = {{.number = 5007, .connections = 1}};
static struct config_plc plcs[] = {{.name = (char[]){"press-1"}, .ports = ports, .port_count = 1}};
static char *all_plcs[] = {(char[]){"*"}};
static struct config_identity identities[] = {
	{.name = (char[]){"edge"}, .edge = true, .plcs = {all_plcs, 1}},
	{.name = (char[]){"client"}, .plcs = {all_plcs, 1}},
	{.name = (char[]){"nobody"}, .edge = true},
};
static struct config_gateway gateways[] = {{.name = (char[]){"plant"}}};
static struct config_destination destinations[1];
static struct address gateway_addresses[2];
static struct config_route routes[] = {{.name = (char[]){"plant"},
					.destinations = destinations,
					.destination_count = 1,
					.gateways = gateway_addresses,
					.gateway_count = 2,
					.proxy_header = true}};
static struct config_source sources[1];
static struct config_edge edges[] = {{.name = (char[]){"office"},
				      .transparent = true,
				      .sources = sources,
				      .source_count = 1,
				      .routes = routes,
				      .route_count = 1}};
static struct address_prefix client_prefix;
static uid_t users[1];
static struct config config;
static struct snapshot snapshot;
static struct worker worker;
static struct counters counters;
static const struct capabilities capabilities; /* the copying engine */
static struct tls_context gateway_context = {.role = TLS_ROLE_GATEWAY};
static struct tls_context edge_context = {.role = TLS_ROLE_EDGE};
static struct tls_context *gateway_contexts[] = {&gateway_context};
static struct tls_context *source_contexts[] = {&edge_context};

static const uint8_t request[] = {0x50, 0, 0, 0xff, 0xff, 3, 0, 0x0c, 0, 0x10, 0,
				  1,    4, 0, 0,    0x64, 0, 0, 0xa8, 2, 0};
static const uint8_t answer[] = {0xd0, 0, 0, 0xff, 0xff, 3, 0, 6, 0, 0, 0, 0x34, 0x12, 2, 0};

static void fill_config(void)
{
	config = (struct config){
		.timeouts = {.handshake = 3 * CLOCK_SEC,
			     .proxy_header = CLOCK_SEC,
			     .dial_gateway = 1500 * CLOCK_MS,
			     .dial_plc = CLOCK_SEC,
			     .slot_wait = CLOCK_SEC,
			     .frame_rest = CLOCK_SEC,
			     .plc_reopen = 500 * CLOCK_MS,
			     .drain = 5 * CLOCK_SEC},
		.limits = {.sessions = 100, .handshakes = 10, .frame = 8200, .key_records = 1000},
		.plcs = plcs,
		.plc_count = 1,
		.identities = identities,
		.identity_count = 3,
		.gateways = gateways,
		.gateway_count = 1,
		.edges = edges,
		.edge_count = 1,
	};
	assert_int_equal(address_parse_host("10.30.0.10", 0, &plcs[0].address), 0);
	assert_int_equal(address_prefix_parse("10.30.0.0/24", &destinations[0].addresses), 0);
	destinations[0].first_port = destinations[0].last_port = 5007;
	assert_int_equal(address_parse("10.20.0.2:8443", &gateway_addresses[0]), 0);
	assert_int_equal(address_parse("10.20.0.3:8443", &gateway_addresses[1]), 0);
	assert_int_equal(address_prefix_parse("192.0.2.0/24", &client_prefix), 0);
	sources[0] = (struct config_source){
		.name = (char[]){"here"}, .addresses = &client_prefix, .address_count = 1};
	gateways[0].plc = NULL;
	routes[0].proxy_header = true;
}

/* Slots, accounts and counters as at the start. */
static void new_plant(void)
{
	assert_int_equal(plant_new(&snapshot.plant), 0);
	assert_int_equal(plant_configure(snapshot.plant, &config), 0);
}

static int set_up(void **state)
{
	(void)state;
	log_set_level((enum log_level) - 1); /* below all: silent */
	fill_config();
	memset(&fake, 0, sizeof(fake));
	posted = NULL;
	dial_error = origdst_outcome = owner_outcome = 0;
	established = keys_to_kernel = false;
	snapshot = (struct snapshot){.config = &config,
				     .gateways = gateway_contexts,
				     .sources = source_contexts,
				     .source_count = 1};
	atomic_init(&snapshot.references, 1);
	new_plant();
	memset(&kernel, 0, sizeof(kernel));
	admission_deinit(&counters.admission);
	memset(&counters, 0, sizeof(counters));
	worker = (struct worker){
		.ring = &fake, .capabilities = &capabilities, .counters = &counters};
	worker.snapshot = &snapshot;
	LIST_INIT(&worker.sessions);
	open_descriptors = count_descriptors();
	return 0;
}

/* Whatever happened, nothing may be left. */
static int tear_down(void **state)
{
	(void)state;
	assert_int_equal(worker.session_count, 0);
	assert_int_equal(atomic_load(&counters.sessions), 0);
	admission_deinit(&counters.admission);
	memset(&counters.admission, 0, sizeof(counters.admission));
	assert_int_equal(atomic_load(&snapshot.references), 1);
	assert_int_equal(fake.timers.count, 0);
	assert_int_equal(fake.armed_count, 0);
	assert_int_equal(fake.buffers_out, 0);
	assert_int_equal(count_descriptors(), open_descriptors);
	assert_null(posted);
	timer_heap_deinit(&fake.timers);
	plant_free(snapshot.plant);
	return 0;
}

static struct session *start(enum session_role role)
{
	assert_int_equal(session_new(&worker, &snapshot, role == SESSION_EDGE ? edges : NULL,
				     role == SESSION_GATEWAY ? gateways : NULL, open_descriptor()),
			 0);
	return LIST_FIRST(&worker.sessions);
}

/* Answers the posted job. `identity` is an index, -1 for an edge's handshake. */
static void shake(int result, int identity, bool mcseal)
{
	struct handshake_job *job = posted;

	assert_non_null(job);
	posted = NULL;
	job->result = result;
	job->peer.identity = identity < 0 ? NULL : &identities[identity];
	job->peer.mcseal = mcseal;
	if (result == 0 && keys_to_kernel)
		job->kernel = calloc(1, sizeof(*job->kernel));
	else if (result == 0)
		job->stream = calloc(1, sizeof(*job->stream));
	job->message.deliver(&job->message);
}

static void expire(struct session *session)
{
	assert_true(timer_is_set(&session->deadline));
	timer_expire(&fake.timers, session->deadline.when);
}

/* Ends everything that was cancelled, until the session is gone. */
static void finish_cancelled(void)
{
	while (fake.armed_count > 0) {
		struct op *op = fake.armed[0];

		assert_true(op->cancelled);
		fake_complete(&fake, op, -ECANCELED);
	}
}

static size_t proxy_header(uint8_t header[PROXY_HEADER_MAX], const char *destination)
{
	struct address client, target;

	assert_int_equal(address_parse("10.10.0.2:40000", &client), 0);
	assert_int_equal(address_parse(destination, &target), 0);
	return proxy_header_write(header, &client, &target);
}

static void deliver_header(struct session *session, const char *destination)
{
	uint8_t header[PROXY_HEADER_MAX];
	size_t size = proxy_header(header, destination);

	fake_deliver(&fake, &session->legs[LEG_NEAR].recv, header, size);
}

/* --- drives a session into a state
 * ----------------------------------------------------------------- */

static struct session *edge_in(enum session_state state)
{
	struct session *session = start(SESSION_EDGE);

	if (state == SESSION_DIALING)
		return session;
	fake_complete(&fake, &session->connect, 0);
	if (state == SESSION_HANDSHAKING)
		return session;
	shake(0, -1, true);
	fake_complete(&fake, &session->legs[LEG_FAR].send, 28);
	return session;
}

static struct session *gateway_in(enum session_state state)
{
	struct session *session = start(SESSION_GATEWAY);

	if (state == SESSION_HANDSHAKING)
		return session;
	shake(0, 0, true);
	if (state == SESSION_RESOLVING)
		return session;
	deliver_header(session, "10.30.0.10:5007");
	/* The recv was stopped after the header; it ends now. */
	fake_complete(&fake, &session->legs[LEG_NEAR].recv, -ECANCELED);
	if (state == SESSION_DIALING)
		return session;
	fake_complete(&fake, &session->connect, 0);
	return session;
}

static struct session *in(enum session_role role, enum session_state state)
{
	struct session *session = role == SESSION_EDGE ? edge_in(state) : gateway_in(state);

	if (state == SESSION_DRAINING) {
		/* A plain leg ends by FIN; the other leg passes it on. */
		unsigned int plain = role == SESSION_EDGE ? LEG_NEAR : LEG_FAR;

		fake_complete(&fake, &session->legs[plain].recv, 0);
		fake_complete(&fake, &session->legs[!plain].send, 1);
	}
	assert_int_equal(session->state, state);
	return session;
}

/* --- the table
 * ---------------------------------------------------------------------------------------- */

/* Only what a state accepts may be armed in it: nothing else can come in. */
static void assert_armed_accepted(const struct session *session)
{
	uint16_t accepts = session_states[session->state].accepts;

	for (size_t i = 0; i < fake.armed_count; i++) {
		static const int completion[] = {[OP_CONNECT] = SESSION_ON_CONNECT,
						 [OP_RECV] = SESSION_ON_RECV,
						 [OP_SEND] = SESSION_ON_SEND,
						 [OP_POLL] = SESSION_ON_SEND};

		assert_true(accepts & 1U << completion[fake.armed[i]->kind]);
	}
	if (posted != NULL)
		assert_true(accepts & 1U << SESSION_ON_HANDSHAKE);
	if (timer_is_set(&session->deadline))
		assert_true(accepts & 1U << SESSION_ON_DEADLINE);
}

static void every_state_arms_what_it_accepts(void **state)
{
	static const enum session_state reachable[] = {SESSION_RESOLVING, SESSION_DIALING,
						       SESSION_HANDSHAKING, SESSION_RELAYING,
						       SESSION_DRAINING};

	(void)state;
	for (int role = 0; role < SESSION_ROLES; role++) {
		for (size_t i = 0; i < ARRAY_SIZE(reachable); i++) {
			struct session *session;

			if (role == SESSION_EDGE && reachable[i] == SESSION_RESOLVING)
				continue; /* an edge resolves without waiting */
			session = in((enum session_role)role, reachable[i]);
			assert_armed_accepted(session);
			session_close(session, SESSION_REASON_SHUTDOWN, NULL);
			session_close(session, SESSION_REASON_INTERNAL, NULL);
			assert_int_equal(session->reason, SESSION_REASON_SHUTDOWN);
			if (posted != NULL)
				shake(-ECANCELED, -1, false);
			else
				session_settle(session);
			finish_cancelled();
			assert_int_equal(worker.session_count, 0);
			/* The slot rests; the next session of this test must not wait for it. */
			plant_free(snapshot.plant);
			new_plant();
		}
	}
}

/* Does any state of this role lead there? */
static bool is_entered(int state, int role)
{
	bool entered = state == SESSION_NEW;

	for (int i = 0; i < SESSION_STATES; i++)
		entered |= (session_states[i].next[role] & 1U << state) != 0;
	return entered;
}

static void tables_are_whole(void **state)
{
	(void)state;
	for (int i = 0; i < SESSION_STATES; i++) {
		assert_non_null(session_states[i].name);
		assert_true(is_entered(i, SESSION_GATEWAY));
		for (int role = 0; role < SESSION_ROLES; role++)
			if (i != SESSION_CLOSED && is_entered(i, role))
				assert_true(session_states[i].next[role] & 1U << SESSION_CLOSED);
			else
				assert_int_equal(session_states[i].next[role], 0);
	}
	for (int i = 0; i < SESSION_REASONS; i++) {
		assert_non_null(session_reasons[i].name);
		assert_non_null(session_reasons[i].meaning);
	}
}

/* What can come in, and the reason that the session must give. */
struct ending {
	enum session_role role;
	enum session_state state;
	enum {
		CONNECT,
		SHAKE,
		NEAR_RECV,
		FAR_RECV,
		NEAR_BYTES,
		FAR_BYTES,
		DEADLINE,
		NEAR_SEND,
		FAR_SEND
	} event;
	int res; /* of a completion; bytes: the one byte delivered */
	enum session_reason reason;
};

static const struct ending endings[] = {
	{SESSION_EDGE, SESSION_RELAYING, NEAR_RECV, -ECONNRESET, SESSION_REASON_CLIENT_LOST},
	{SESSION_EDGE, SESSION_RELAYING, NEAR_RECV, -ETIMEDOUT, SESSION_REASON_CLIENT_LOST},
	{SESSION_EDGE, SESSION_RELAYING, FAR_RECV, -ECONNRESET, SESSION_REASON_TARGET_LOST},
	{SESSION_EDGE, SESSION_RELAYING, FAR_RECV, 0, SESSION_REASON_TARGET_TRUNCATED},
	{SESSION_EDGE, SESSION_RELAYING, FAR_BYTES, 'X', SESSION_REASON_TARGET_TLS},
	{SESSION_EDGE, SESSION_RELAYING, NEAR_BYTES, 'G', SESSION_REASON_BAD_REQUEST},
	{SESSION_EDGE, SESSION_RELAYING, FAR_BYTES, 'G', SESSION_REASON_BAD_ANSWER},
	{SESSION_EDGE, SESSION_DRAINING, DEADLINE, 0, SESSION_REASON_DRAIN_TIMEOUT},
	/* A FIN that answers ours, with nothing owed, has cut nothing off. */
	{SESSION_EDGE, SESSION_DRAINING, FAR_RECV, 0, SESSION_REASON_FINISHED},
	{SESSION_EDGE, SESSION_DRAINING, FAR_BYTES, 'C', SESSION_REASON_FINISHED},
	{SESSION_GATEWAY, SESSION_HANDSHAKING, SHAKE, -EPROTO, SESSION_REASON_HANDSHAKE_FAILED},
	{SESSION_GATEWAY, SESSION_HANDSHAKING, SHAKE, -ETIMEDOUT, SESSION_REASON_HANDSHAKE_TIMEOUT},
	{SESSION_GATEWAY, SESSION_HANDSHAKING, SHAKE, -EBUSY, SESSION_REASON_HANDSHAKE_EVICTED},
	{SESSION_GATEWAY, SESSION_HANDSHAKING, SHAKE, -ENOMEM, SESSION_REASON_NO_MEMORY},
	{SESSION_GATEWAY, SESSION_RESOLVING, DEADLINE, 0, SESSION_REASON_PROXY_HEADER_TIMEOUT},
	{SESSION_GATEWAY, SESSION_RESOLVING, NEAR_BYTES, 'G', SESSION_REASON_PROXY_HEADER_BAD},
	{SESSION_GATEWAY, SESSION_RESOLVING, NEAR_BYTES, 'C', SESSION_REASON_PROXY_HEADER_BAD},
	{SESSION_GATEWAY, SESSION_RESOLVING, NEAR_BYTES, 'X', SESSION_REASON_CLIENT_TLS},
	{SESSION_GATEWAY, SESSION_RESOLVING, NEAR_RECV, 0, SESSION_REASON_CLIENT_TRUNCATED},
	{SESSION_GATEWAY, SESSION_RESOLVING, NEAR_RECV, -ECONNRESET, SESSION_REASON_CLIENT_LOST},
	{SESSION_GATEWAY, SESSION_DIALING, CONNECT, -ECONNREFUSED, SESSION_REASON_PLC_REFUSED},
	{SESSION_GATEWAY, SESSION_DIALING, CONNECT, -ECANCELED, SESSION_REASON_PLC_TIMEOUT},
	{SESSION_GATEWAY, SESSION_RELAYING, NEAR_RECV, -ECONNRESET, SESSION_REASON_CLIENT_LOST},
	{SESSION_GATEWAY, SESSION_RELAYING, NEAR_RECV, 0, SESSION_REASON_CLIENT_TRUNCATED},
	{SESSION_GATEWAY, SESSION_RELAYING, NEAR_BYTES, 'X', SESSION_REASON_CLIENT_TLS},
	{SESSION_GATEWAY, SESSION_RELAYING, NEAR_BYTES, 'G', SESSION_REASON_BAD_REQUEST},
	{SESSION_GATEWAY, SESSION_RELAYING, FAR_RECV, -ECONNRESET, SESSION_REASON_TARGET_LOST},
	{SESSION_GATEWAY, SESSION_RELAYING, FAR_BYTES, 'G', SESSION_REASON_BAD_ANSWER},
	{SESSION_GATEWAY, SESSION_DRAINING, DEADLINE, 0, SESSION_REASON_DRAIN_TIMEOUT},
	{SESSION_GATEWAY, SESSION_DRAINING, NEAR_BYTES, 'C', SESSION_REASON_FINISHED},
	{SESSION_GATEWAY, SESSION_DRAINING, NEAR_RECV, 0, SESSION_REASON_FINISHED},
};

static void happen(struct session *session, const struct ending *ending)
{
	uint8_t byte = (uint8_t)ending->res;

	switch (ending->event) {
	case CONNECT:
		fake_complete(&fake, &session->connect, ending->res);
		break;
	case SHAKE:
		shake(ending->res, 1, false);
		break;
	case NEAR_RECV:
		fake_complete(&fake, &session->legs[LEG_NEAR].recv, ending->res);
		break;
	case FAR_RECV:
		fake_complete(&fake, &session->legs[LEG_FAR].recv, ending->res);
		break;
	case NEAR_BYTES:
		fake_deliver(&fake, &session->legs[LEG_NEAR].recv, &byte, 1);
		break;
	case FAR_BYTES:
		fake_deliver(&fake, &session->legs[LEG_FAR].recv, &byte, 1);
		break;
	case DEADLINE:
		expire(session);
		break;
	case NEAR_SEND:
		fake_complete(&fake, &session->legs[LEG_NEAR].send, ending->res);
		break;
	case FAR_SEND:
		fake_complete(&fake, &session->legs[LEG_FAR].send, ending->res);
		break;
	}
}

static enum session_reason last_reason;
static struct session *watched_session;

/* Frees of a session are seen through the worker's count; its reason must be read before. */
static void watch(struct session *session)
{
	watched_session = session;
	last_reason = SESSION_REASON_NONE;
	session->owner.in_flight++; /* keeps it until it was looked at */
}

static enum session_reason look(void)
{
	last_reason = watched_session->reason;
	assert_int_equal(watched_session->state, SESSION_CLOSED);
	watched_session->owner.in_flight--;
	session_settle(watched_session);
	finish_cancelled();
	return last_reason;
}

static void every_completion_ends_with_its_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
		struct session *session = in(endings[i].role, endings[i].state);

		watch(session);
		happen(session, &endings[i]);
		if (look() != endings[i].reason)
			fail_msg("ending %zu: %s instead of %s", i,
				 session_reasons[last_reason].name,
				 session_reasons[endings[i].reason].name);
		assert_int_equal(worker.session_count, 0);
		plant_free(snapshot.plant);
		new_plant();
	}
}

/* --- named cases
 * ------------------------------------------------------------------------------------------ */

static void edge_tries_the_next_gateway(void **state)
{
	struct session *session = start(SESSION_EDGE);

	(void)state;
	fake_complete(&fake, &session->connect, -ECONNREFUSED);
	assert_int_equal(session->state, SESSION_DIALING);
	assert_int_equal(session->gateway_at, 1);
	assert_true(address_equal(session->connect.address, &gateway_addresses[1]));
	fake_complete(&fake, &session->connect, 0);
	watch(session);
	shake(-EPROTO, -1, false);
	assert_int_equal(look(), SESSION_REASON_GATEWAYS_FAILED);
}

static void edge_dial_has_a_share_of_the_time(void **state)
{
	struct session *session = start(SESSION_EDGE);
	clock_us share = session->deadline.when - clock_now();

	(void)state;
	assert_true(share > 600 * CLOCK_MS && share <= 750 * CLOCK_MS);
	expire(session);
	assert_true(session->connect.cancelled);
	fake_complete(&fake, &session->connect, -ECANCELED);
	assert_int_equal(session->gateway_at, 1);
	watch(session);
	session_close(session, SESSION_REASON_SHUTDOWN, NULL);
	assert_int_equal(look(), SESSION_REASON_SHUTDOWN);
}

static void edge_refuses_sources_and_destinations(void **state)
{
	static const struct {
		int origdst;
		const char *prefix;
		bool by_user;
		int owner;
		uid_t uid;
		size_t routes;
	} cases[] = {
		{ORIGDST_NOT_REDIRECTED, "192.0.2.0/24", false, 0, 0, 1},
		{-EIO, "192.0.2.0/24", false, 0, 0, 1},
		{0, "198.51.100.0/24", false, 0, 0, 1},
		{0, "192.0.2.0/24", true, 0, 1001, 1},
		{0, "192.0.2.0/24", true, CLIENT_OWNER_NOT_LOCAL, 1000, 1},
		{0, "192.0.2.0/24", true, CLIENT_OWNER_NONE, 1000, 1},
		{0, "192.0.2.0/24", true, CLIENT_OWNER_AMONG, 1000, 1}, /* gone meanwhile */
		{0, "192.0.2.0/24", true, -EIO, 1000, 1},
		{0, "192.0.2.0/24", false, 0, 0, 0},
	};

	(void)state;
	users[0] = 1000;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		origdst_outcome = cases[i].origdst;
		owner_outcome = cases[i].owner;
		owner_answer.uid = cases[i].uid;
		assert_int_equal(address_prefix_parse(cases[i].prefix, &client_prefix), 0);
		sources[0].users = cases[i].by_user ? users : NULL;
		sources[0].user_count = cases[i].by_user;
		edges[0].route_count = cases[i].routes;
		start(SESSION_EDGE);
		assert_int_equal(worker.session_count, 0);
		assert_int_equal(fake.armed_count, 0); /* nobody was dialled */
	}
	edges[0].route_count = 1;
	/* And the listed user passes. */
	owner_outcome = 0;
	owner_answer.uid = 1000;
	sources[0].users = users;
	sources[0].user_count = 1;
	session_close(start(SESSION_EDGE), SESSION_REASON_SHUTDOWN, NULL);
	finish_cancelled();
	/* With a source port that the redirect has changed, too, as long as it is connected. */
	owner_outcome = CLIENT_OWNER_AMONG;
	established = true;
	session_close(start(SESSION_EDGE), SESSION_REASON_SHUTDOWN, NULL);
	finish_cancelled();
}

static void gateway_refuses_before_dialling(void **state)
{
	static const struct {
		int identity;
		bool mcseal;
		const char *destination; /* of the PROXY header; NULL: none is sent */
		enum session_reason reason;
	} cases[] = {
		{1, true, NULL, SESSION_REASON_ALPN_REFUSED},
		{1, false, NULL, SESSION_REASON_PLC_UNKNOWN},
		{0, true, "10.30.0.11:5007", SESSION_REASON_PLC_UNKNOWN},
		{0, true, "10.30.0.10:5008", SESSION_REASON_PLC_UNKNOWN},
		{2, true, "10.30.0.10:5007", SESSION_REASON_PLC_NOT_ALLOWED},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		watch(start(SESSION_GATEWAY));
		shake(0, cases[i].identity, cases[i].mcseal);
		if (cases[i].destination != NULL)
			deliver_header(watched_session, cases[i].destination);
		assert_null(fake_armed(&fake, OP_CONNECT, 0));
		assert_int_equal(look(), cases[i].reason);
	}
}

static void header_and_request_in_one_record(void **state)
{
	uint8_t both[PROXY_HEADER_MAX + sizeof(request)];
	size_t size = proxy_header(both, "10.30.0.10:5007");
	struct session *session = start(SESSION_GATEWAY);

	(void)state;
	memcpy(both + size, request, sizeof(request));
	shake(0, 0, true);
	fake_deliver(&fake, &session->legs[LEG_NEAR].recv, both, size + sizeof(request));
	assert_int_equal(session->state, SESSION_DIALING);
	fake_complete(&fake, &session->legs[LEG_NEAR].recv, -ECANCELED);
	fake_complete(&fake, &session->connect, 0);
	assert_int_equal(fake.sends, 1);
	assert_memory_equal(fake.sent, request, sizeof(request));
	watch(session);
	session_close(session, SESSION_REASON_SHUTDOWN, NULL);
	look();
}

static void slot_is_waited_for_and_given_back(void **state)
{
	struct session *first = in(SESSION_GATEWAY, SESSION_RELAYING);
	struct session *second = start(SESSION_GATEWAY);

	(void)state;
	shake(0, 0, true);
	deliver_header(second, "10.30.0.10:5007");
	fake_complete(&fake, &second->legs[LEG_NEAR].recv, -ECANCELED);
	assert_int_equal(second->state, SESSION_DIALING);
	assert_false(second->slot_taken);
	session_close(first, SESSION_REASON_SHUTDOWN, NULL);
	fake_complete(&fake, &first->legs[LEG_NEAR].recv, -ECANCELED);
	fake_complete(&fake, &first->legs[LEG_FAR].recv, -ECANCELED);
	/* It rests for half a second, of which none has passed. */
	expire(second);
	assert_false(second->slot_taken);
	assert_true(timer_is_set(&second->deadline));
	second->slot_until = 0;
	watch(second);
	expire(second);
	assert_int_equal(look(), SESSION_REASON_PLC_BUSY);
}

static void one_frame_one_send(void **state)
{
	struct session *session = in(SESSION_GATEWAY, SESSION_RELAYING);
	struct op *near = &session->legs[LEG_NEAR].recv, *far = &session->legs[LEG_FAR].recv;

	(void)state;
	for (size_t i = 0; i < sizeof(request); i++) {
		assert_int_equal(fake.sends, 0);
		fake_deliver(&fake, near, request + i, 1);
	}
	assert_int_equal(fake.sends, 1);
	assert_int_equal(fake.sent_size, sizeof(request));
	assert_false(timer_is_set(&session->directions[LEG_NEAR].frame_rest));
	fake_complete(&fake, &session->legs[LEG_FAR].send, sizeof(request));
	fake_deliver(&fake, far, answer, 9);
	assert_int_equal(fake.sends, 1);
	assert_true(timer_is_set(&session->directions[LEG_FAR].frame_rest));
	fake_deliver(&fake, far, answer + 9, sizeof(answer) - 9);
	assert_int_equal(fake.sends, 2);
	assert_memory_equal(fake.sent + sizeof(request), answer, sizeof(answer));
	watch(session);
	session_close(session, SESSION_REASON_SHUTDOWN, NULL);
	look();
}

static void rest_of_a_frame_is_not_awaited_for_ever(void **state)
{
	struct session *session = in(SESSION_GATEWAY, SESSION_RELAYING);

	(void)state;
	fake_deliver(&fake, &session->legs[LEG_NEAR].recv, request, 5);
	watch(session);
	timer_expire(&fake.timers, session->directions[LEG_NEAR].frame_rest.when);
	assert_int_equal(look(), SESSION_REASON_REQUEST_INCOMPLETE);
}

static void blocked_direction_stops_receiving(void **state)
{
	struct session *session = in(SESSION_GATEWAY, SESSION_RELAYING);
	struct op *near = &session->legs[LEG_NEAR].recv;

	(void)state;
	for (int i = 0; i < 500; i++)
		fake_deliver(&fake, near, request, sizeof(request));
	assert_int_equal(fake.sends, 1); /* the PLC has not taken the first */
	assert_true(near->cancelled);
	fake_complete(&fake, near, -ECANCELED);
	for (int i = 1; i < 500; i++) {
		fake_complete(&fake, &session->legs[LEG_FAR].send, sizeof(request));
		assert_int_equal(fake.sends, i + 1);
	}
	assert_true(op_armed(near) && !near->cancelled); /* receiving again */
	watch(session);
	session_close(session, SESSION_REASON_SHUTDOWN, NULL);
	look();
}

static void an_owed_answer_makes_it_truncated(void **state)
{
	struct session *session = in(SESSION_EDGE, SESSION_RELAYING);

	(void)state;
	fake_deliver(&fake, &session->legs[LEG_NEAR].recv, request, sizeof(request));
	fake_complete(&fake, &session->legs[LEG_FAR].send, sizeof(request));
	fake_complete(&fake, &session->legs[LEG_NEAR].recv, 0);
	fake_complete(&fake, &session->legs[LEG_FAR].send, 1);
	assert_int_equal(session->state, SESSION_DRAINING);
	watch(session);
	fake_complete(&fake, &session->legs[LEG_FAR].recv, 0);
	assert_int_equal(look(), SESSION_REASON_TARGET_TRUNCATED);
}

/* --- kernel TLS ------------------------------------------------------------------------------ */

static struct session *with_keys_in_kernel(enum session_role role)
{
	keys_to_kernel = true;
	return in(role, SESSION_RELAYING);
}

static void records_of_the_kernel_are_plain_here(void **state)
{
	struct session *session = with_keys_in_kernel(SESSION_GATEWAY);
	struct leg *near = &session->legs[LEG_NEAR];

	(void)state;
	assert_true(near->recv.unsure);
	fake_deliver(&fake, &near->recv, request, sizeof(request));
	assert_memory_equal(fake.sent, request, sizeof(request));
	fake_complete(&fake, &session->legs[LEG_FAR].send, sizeof(request));
	fake_deliver(&fake, &session->legs[LEG_FAR].recv, answer, sizeof(answer));
	assert_memory_equal(fake.sent + sizeof(request), answer, sizeof(answer));
	fake_complete(&fake, &near->send, sizeof(answer));
	watch(session);
	session_close(session, SESSION_REASON_SHUTDOWN, NULL);
	look();
	assert_int_equal(kernel.closed, 1); /* close_notify */
}

/* recv fails on a record that is no data; what it was decides. */
static void control_records(void **state)
{
	static const struct {
		int control;
		enum session_reason reason; /* NONE: the session goes on */
	} rows[] = {
		{KTLS_CONTROL_NOTHING, SESSION_REASON_NONE},
		{KTLS_CONTROL_END, SESSION_REASON_CLIENT_TRUNCATED},
		{-EPROTO, SESSION_REASON_CLIENT_TLS},
		{-EBADMSG, SESSION_REASON_CLIENT_TLS},
		{-EDQUOT, SESSION_REASON_CLIENT_TLS},
		{-ECONNRESET, SESSION_REASON_CLIENT_LOST},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct session *session = with_keys_in_kernel(SESSION_GATEWAY);

		kernel.control = rows[i].control;
		watch(session);
		fake_complete(&fake, &session->legs[LEG_NEAR].recv, -EIO);
		if (rows[i].reason == SESSION_REASON_NONE) {
			assert_true(op_armed(&session->legs[LEG_NEAR].recv));
			session_close(session, SESSION_REASON_SHUTDOWN, NULL);
			look();
		} else {
			assert_int_equal(look(), rows[i].reason);
		}
		plant_free(snapshot.plant);
		new_plant();
	}
}

static void close_notify_half_closes(void **state)
{
	struct session *session = with_keys_in_kernel(SESSION_GATEWAY);

	(void)state;
	kernel.control = KTLS_CONTROL_CLOSED;
	fake_complete(&fake, &session->legs[LEG_NEAR].recv, -EIO);
	assert_int_equal(session->state, SESSION_DRAINING);
	assert_true(session->legs[LEG_FAR].finished && !session->legs[LEG_NEAR].finished);
	kernel.said_closed = -EAGAIN; /* the client reads slowly */
	fake_complete(&fake, &session->legs[LEG_FAR].recv, 0);
	assert_false(session->legs[LEG_NEAR].finished);
	kernel.said_closed = 0;
	watch(session);
	fake_complete(&fake, &session->legs[LEG_NEAR].writable, POLLOUT);
	assert_int_equal(look(), SESSION_REASON_FINISHED);
}

/* No byte may leave between our KeyUpdate and the new key, nor in the middle of one send. */
static void keys_change_when_nothing_is_being_sent(void **state)
{
	struct session *session = with_keys_in_kernel(SESSION_GATEWAY);
	struct leg *near = &session->legs[LEG_NEAR];

	(void)state;
	fake_deliver(&fake, &near->recv, request, sizeof(request));
	fake_complete(&fake, &session->legs[LEG_FAR].send, sizeof(request));
	fake_deliver(&fake, &session->legs[LEG_FAR].recv, answer, sizeof(answer));
	kernel.update_due = true;
	fake_complete(&fake, &near->recv, -EIO);
	assert_int_equal(kernel.updates, 0);
	kernel.update = -EAGAIN;
	fake_complete(&fake, &near->send, sizeof(answer));
	assert_int_equal(kernel.updates, 0);
	kernel.update = 0;
	fake_complete(&fake, &near->writable, POLLOUT);
	assert_int_equal(kernel.updates, 1);
	watch(session);
	session_close(session, SESSION_REASON_SHUTDOWN, NULL);
	look();
}

static void exchange(struct session *session)
{
	fake_deliver(&fake, &session->legs[LEG_NEAR].recv, request, sizeof(request));
	fake_complete(&fake, &session->legs[LEG_FAR].send, sizeof(request));
	fake_deliver(&fake, &session->legs[LEG_FAR].recv, answer, sizeof(answer));
	if (session->state == SESSION_RELAYING)
		fake_complete(&fake, &session->legs[LEG_NEAR].send, sizeof(answer));
}

static void used_up_keys_are_changed_or_the_session_closed(void **state)
{
	struct session *session = with_keys_in_kernel(SESSION_GATEWAY);

	(void)state;
	config.limits.key_records = 16;
	exchange(session);
	exchange(session);
	assert_int_equal(kernel.refreshes, 0);
	kernel.records = 16;
	exchange(session);
	exchange(session);
	assert_true(kernel.refreshes > 0 && session->state == SESSION_RELAYING);
	/* This kernel cannot: in the pause after the answer. */
	kernel.refresh = -EOPNOTSUPP;
	exchange(session);
	watch(session);
	exchange(session);
	assert_int_equal(look(), SESSION_REASON_KEY_LIMIT);
	assert_int_equal(kernel.closed, 1);
}

static void session_limit_refuses(void **state)
{
	(void)state;
	config.limits.sessions = 0;
	assert_int_equal(session_new(&worker, &snapshot, NULL, gateways, open_descriptor()),
			 -ENOMEM);
}

/* --- random walks
 * -------------------------------------------------------------------------------------------- */

static unsigned int pick(unsigned int *seed, unsigned int below)
{
	return (unsigned int)rand_r(seed) % below;
}

static void random_completion(struct op *op, unsigned int *seed)
{
	static const int errors[] = {-ECANCELED, -ECONNRESET, -EIO, -ETIMEDOUT, 0};
	static const int controls[] = {
		KTLS_CONTROL_NOTHING, KTLS_CONTROL_CLOSED, KTLS_CONTROL_END, -EPROTO, -EDQUOT,
		-ECONNRESET};
	static const int sendings[] = {0, 0, -EAGAIN, -EPIPE};
	static const char *const junk[] = {"C", "X", "G", "\x50\0\0\xff\xff\x03"};
	uint8_t header[PROXY_HEADER_MAX];
	unsigned int choice = pick(seed, 10);

	kernel.control = controls[pick(seed, 6)];
	kernel.update_due = pick(seed, 4) == 0;
	kernel.update = sendings[pick(seed, 4)];
	kernel.said_closed = sendings[pick(seed, 4)];
	if (op->cancelled || choice == 0)
		fake_complete(&fake, op, errors[op->cancelled ? 0 : pick(seed, 5)]);
	else if (op->kind == OP_SEND)
		fake_complete(&fake, op, (int)op->total);
	else if (op->kind == OP_POLL)
		fake_complete(&fake, op, POLLOUT);
	else if (op->kind == OP_CONNECT)
		fake_complete(&fake, op, 0);
	else if (choice == 1)
		fake_deliver(&fake, op, junk[pick(seed, 4)], 1);
	else if (choice < 5)
		fake_deliver(&fake, op, header, proxy_header(header, "10.30.0.10:5007"));
	else
		fake_deliver(&fake, op, op->tag == LEG_NEAR ? request : answer,
			     op->tag == LEG_NEAR ? sizeof(request) : sizeof(answer));
	fake.sent_size = 0;
}

static void random_step(unsigned int *seed)
{
	static const int results[] = {0, 0, 0, 0, -EPROTO, -ETIMEDOUT, -EBUSY, -ENOMEM};
	unsigned int choice = pick(seed, 8);

	if (posted != NULL && (choice < 4 || fake.armed_count == 0))
		shake(results[pick(seed, 8)],
		      posted->context == &edge_context ? -1 : (int)pick(seed, 3),
		      pick(seed, 4) > 0);
	else if (fake.armed_count > 0 && (choice != 4 || timer_next(&fake.timers) == CLOCK_NEVER))
		random_completion(fake.armed[pick(seed, (unsigned int)fake.armed_count)], seed);
	else if (timer_next(&fake.timers) != CLOCK_NEVER)
		timer_expire(&fake.timers, timer_next(&fake.timers));
}

static void random_walks_leave_nothing(void **state)
{
	(void)state;
	for (unsigned int walk = 0; walk < 20000; walk++) {
		unsigned int seed = walk, steps = 0;

		gateways[0].plc = pick(&seed, 2) ? plcs : NULL;
		routes[0].proxy_header = pick(&seed, 4) > 0;
		keys_to_kernel = pick(&seed, 2);
		start(pick(&seed, 2) ? SESSION_EDGE : SESSION_GATEWAY);
		while (worker.session_count > 0) {
			if (steps++ == 200)
				session_close(LIST_FIRST(&worker.sessions), SESSION_REASON_SHUTDOWN,
					      NULL);
			assert_true(steps < 400);
			random_step(&seed);
		}
		assert_int_equal(fake.armed_count, 0);
		assert_int_equal(fake.timers.count, 0);
		assert_int_equal(fake.buffers_out, 0);
		plant_free(snapshot.plant);
		new_plant();
	}
}

/* --- the page for operators
 * ------------------------------------------------------------------------------------ */

static void documentation_names_every_state_and_reason(void **state)
{
	FILE *file = fopen("docs/sessions.md", "r");
	char *text = calloc(1, 1 << 16), row[400];

	(void)state;
	assert_non_null(file);
	assert_true(fread(text, 1, (1 << 16) - 1, file) > 0);
	fclose(file);
	for (int i = 0; i < SESSION_STATES; i++) {
		snprintf(row, sizeof(row), "\n| %s |", session_states[i].name);
		if (strstr(text, row) == NULL)
			fail_msg("docs/sessions.md has no row for %s", session_states[i].name);
	}
	for (int i = 1; i < SESSION_REASONS; i++) {
		snprintf(row, sizeof(row), "\n| `%s` | %s |", session_reasons[i].name,
			 session_reasons[i].meaning);
		if (strstr(text, row) == NULL)
			fail_msg("docs/sessions.md lacks the row%s", row);
	}
	free(text);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		CASE(tables_are_whole),
		CASE(every_state_arms_what_it_accepts),
		CASE(every_completion_ends_with_its_reason),
		CASE(edge_tries_the_next_gateway),
		CASE(edge_dial_has_a_share_of_the_time),
		CASE(edge_refuses_sources_and_destinations),
		CASE(gateway_refuses_before_dialling),
		CASE(header_and_request_in_one_record),
		CASE(slot_is_waited_for_and_given_back),
		CASE(one_frame_one_send),
		CASE(rest_of_a_frame_is_not_awaited_for_ever),
		CASE(blocked_direction_stops_receiving),
		CASE(an_owed_answer_makes_it_truncated),
		CASE(session_limit_refuses),
		CASE(records_of_the_kernel_are_plain_here),
		CASE(control_records),
		CASE(close_notify_half_closes),
		CASE(keys_change_when_nothing_is_being_sent),
		CASE(used_up_keys_are_changed_or_the_session_closed),
		CASE(random_walks_leave_nothing),
		CASE(documentation_names_every_state_and_reason),
	};

	return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
