/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session: one accepted connection, one dialled connection, and what is between them.
 *
 *   edge     NEW -> RESOLVING -> DIALING -> HANDSHAKING -> ARMING -> RELAYING -> DRAINING -> CLOSED
 *   gateway  NEW -> HANDSHAKING -> ARMING -> RESOLVING -> [AWAITING] -> DIALING -> [UNLOCKING]
 *            -> RELAYING -> DRAINING -> CLOSED
 *
 * How it works
 *
 * One struct, one state, written by session_enter() alone. A session belongs to one worker for
 * life; all its operations complete at its op_owner. Any state may end in session_close(), which
 * names a reason once, cancels everything and lets the last completion free the session: it is
 * freed only when nothing is in flight. docs/sessions.md holds the table of states and reasons
 * as operators read it; a test compares it with the tables here.
 */
#ifndef MCSEAL_PROXY_SESSION_H
#define MCSEAL_PROXY_SESSION_H

#include "mc/mc_stream.h"
#include "proxy/admission.h"
#include "proxy/capabilities.h"
#include "proxy/handshake_pool.h"
#include "proxy/leg.h"
#include "proxy/snapshot.h"
#include "ring/pipe_pool.h"

#include <stdint.h>
#include <sys/queue.h>

enum session_role {
	SESSION_EDGE,
	SESSION_GATEWAY,
	SESSION_ROLES,
};

enum session_state {
	SESSION_NEW,
	SESSION_RESOLVING,
	SESSION_AWAITING,
	SESSION_DIALING,
	SESSION_HANDSHAKING,
	SESSION_ARMING,
	SESSION_UNLOCKING,
	SESSION_RELAYING,
	SESSION_DRAINING,
	SESSION_CLOSED,
	SESSION_STATES,
};

/* What may come in; each state says which of them it takes. */
enum session_completion {
	SESSION_ON_HANDSHAKE,
	SESSION_ON_CONNECT,
	SESSION_ON_RECV,
	SESSION_ON_SEND, /* and what else makes room: a writable socket, a splice */
	SESSION_ON_DEADLINE,
	SESSION_COMPLETIONS,
};

/* Why a session ended; name and meaning stand in session_reasons[]. */
enum session_reason {
	SESSION_REASON_NONE,
	SESSION_REASON_FINISHED,
	SESSION_REASON_CLIENT_LOST,
	SESSION_REASON_TARGET_LOST,
	SESSION_REASON_CLIENT_TRUNCATED,
	SESSION_REASON_TARGET_TRUNCATED,
	SESSION_REASON_CLIENT_TLS,
	SESSION_REASON_TARGET_TLS,
	SESSION_REASON_HANDSHAKE_FAILED,
	SESSION_REASON_HANDSHAKE_TIMEOUT,
	SESSION_REASON_HANDSHAKE_EVICTED,
	SESSION_REASON_NOT_REDIRECTED,
	SESSION_REASON_SOURCE_REFUSED,
	SESSION_REASON_NO_ROUTE,
	SESSION_REASON_GATEWAYS_FAILED,
	SESSION_REASON_ALPN_REFUSED,
	SESSION_REASON_PROXY_HEADER_BAD,
	SESSION_REASON_PROXY_HEADER_TIMEOUT,
	SESSION_REASON_PLC_UNKNOWN,
	SESSION_REASON_PLC_NOT_ALLOWED,
	SESSION_REASON_PLC_BUSY,
	SESSION_REASON_PLC_REFUSED,
	SESSION_REASON_PLC_TIMEOUT,
	SESSION_REASON_PLC_PASSWORD,
	SESSION_REASON_BAD_REQUEST,
	SESSION_REASON_BAD_ANSWER,
	SESSION_REASON_REQUEST_INCOMPLETE,
	SESSION_REASON_ANSWER_INCOMPLETE,
	SESSION_REASON_ANSWER_TIMEOUT,
	SESSION_REASON_DRAIN_TIMEOUT,
	SESSION_REASON_KEY_LIMIT,
	SESSION_REASON_CERTIFICATE_REVOKED,
	SESSION_REASON_CERTIFICATE_UNTRUSTED,
	SESSION_REASON_CERTIFICATE_EXPIRED,
	SESSION_REASON_IDENTITY_WITHDRAWN,
	SESSION_REASON_PLC_WITHDRAWN,
	SESSION_REASON_WITHDRAWN,
	SESSION_REASON_MAX_AGE,
	SESSION_REASON_CLOSED_BY_ADMIN,
	SESSION_REASON_NO_MEMORY,
	SESSION_REASON_INTERNAL,
	SESSION_REASON_SHUTDOWN,
	SESSION_REASONS,
};

struct session_state_row {
	const char *name;
	uint16_t next[SESSION_ROLES]; /* bit per state that may follow */
	uint16_t accepts;             /* bit per completion */
};

struct session_reason_row {
	const char *name;
	enum log_level level; /* of the line that tells it */
	const char *meaning;  /* as in docs/sessions.md */
};

extern const struct session_state_row session_states[SESSION_STATES];
extern const struct session_reason_row session_reasons[SESSION_REASONS];

enum { LEG_NEAR, LEG_FAR, LEGS }; /* accepted, dialled */

/* One direction, named by the leg that the bytes come from. */
struct direction {
	struct timer frame_rest; /* a frame has begun and is not whole */
	uint64_t bytes, frames;  /* forwarded */

	/* Where it is spliced (relay_splice.c); of the frame that is on its way. */
	bool spliced;
	bool gathered;           /* this frame is read and sent instead */
	bool lowat_set;          /* SO_RCVLOWAT of the source is not 1 */
	bool last;               /* behind it the source holds nothing */
	uint32_t frame;          /* bytes; 0: none */
	uint32_t missing, piped; /* of it: not yet in the pipe; in the pipe */
	struct pipe *pipe;       /* held while a frame is in it */
	struct op into, out;     /* IORING_OP_SPLICE */
	int into_res;
	enum relay_engine engine; /* of spliced ones */
};

struct worker;
struct inspection;

struct session {
	struct op_owner owner;
	struct worker *worker;
	struct snapshot *snapshot; /* a reference */
	LIST_ENTRY(session) entry; /* worker's list */

	uint64_t id;
	enum session_role role;
	enum session_state state;
	enum session_reason reason;
	clock_us started;
	struct timer deadline; /* of the state */

	struct admission_place place; /* at its listener and of its source */

	struct leg legs[LEGS];
	struct direction directions[LEGS];
	struct mc_stream stream;
	enum config_protocol protocol;
	struct op connect;
	struct handshake_job *job; /* while HANDSHAKING */
	bool message_pending;      /* one is, or may be, on its way to us: we must not be freed */

	struct address client;       /* who asked: the peer, or what an edge's header says */
	struct address destination;  /* what it asked for */
	struct address edge_address; /* gateway: the edge that carries the client */

	/* One of the two. */
	const struct config_edge *edge;
	const struct config_gateway *gateway;

	union {
		struct { /* edge */
			const struct tls_context *context;
			const struct config_route *route;
			size_t gateway_at;   /* of route->gateways */
			clock_us dial_until; /* dial and handshake over all gateways */
		};
		struct { /* gateway, once its PLC is known */
			struct plant_plc *plant;
			struct plc_slots *slots;
			struct account *account;
			clock_us slot_until;
		};
	};

	/* Gateway. */
	const struct config_identity *identity;
	const struct config_plc *sni_plc; /* that SNI named; counts where nothing else decides */
	const struct config_plc *plc;     /* once resolved */
	const struct config_port *port;
	bool mcseal;  /* ALPN mcseal/1: a PROXY header comes first */
	bool counted; /* in its account, as open */
	bool slot_taken;
	bool tries_password;           /* UNLOCKING: the answer tells whether it was wrong */
	uint32_t refused;              /* requests that were answered here */
	struct inspection *inspection; /* RELAYING; NULL: requests are not judged */

	struct timer term;        /* RELAYING: when its age or a certificate is to be looked at */
	clock_us relayed;         /* since then */
	time_t own_ends;          /* the certificate that we have shown */
	bool expiry_told;         /* that a certificate of it has ended */
	struct peer_chain *chain; /* what the peer has shown, from ARMING on: a reference */
	char serial[48];          /* of the peer's certificate */
	const char *tls_version, *tls_cipher;
	const char *user_why; /* records are made in user space though the kernel might have */
	bool resumed;
	/* Why it closes between two requests: a key is used up, or it was told to. NONE: it does
	 * not. */
	enum session_reason close_at_rest;
	const char *rest_detail; /* of that reason; static, or NULL */
	clock_us asked;   /* when the request under way was sent on, or the last answer was */
	clock_us latency; /* of the last answer: since its request was sent on */
};

/*
 * Takes over the accepted descriptor and starts. Exactly one of `edge` and `gateway` is given.
 * -ENOMEM closes the descriptor and leaves nothing behind. The session frees itself.
 */
int session_new(struct worker *worker, struct snapshot *snapshot, const struct config_edge *edge,
		const struct config_gateway *gateway, int fd);
/* Any state, any number of times: the first reason counts. `detail` may be NULL. */
void session_close(struct session *session, enum session_reason reason, const char *detail);
/*
 * A configuration has taken the place of the session's own: it goes on under that, or ends, if it
 * may not be there by it, or its peer's certificate is not good any more. Sessions that do not
 * relay yet come to the rest when they do.
 */
void session_rebind(struct session *session, struct snapshot *snapshot);
/* After anything that may have closed it: frees the session once nothing is in flight. */
void session_settle(struct session *session);

/* For session_setup.c and relay.c only. */
void session_enter(struct session *session, enum session_state state);
/* Looks at its age and certificates, and again when something of them is due. */
void session_watch_term(struct session *session);
/* (Re)arms the deadline of the state. */
void session_set_deadline(struct session *session, clock_us when);
struct ring *session_ring(const struct session *session);
/* The TLS leg's records are the kernel's. */
bool session_keys_in_kernel(const struct session *session);
/* How it relays, while it does. */
enum relay_engine session_engine(const struct session *session);

#endif
