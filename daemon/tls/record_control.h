/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records that are no data, on an established connection: alerts, KeyUpdate, late tickets
 * (RFC 8446 4.6 and 6, RFC 5246 7.2). The same for whoever makes the records: the kernel
 * (ktls_control) or user space (tls_stream), which embed this.
 *
 * Secrets are kept only where keys can be changed, in locked memory (base/secret.h).
 */
#ifndef MCSEAL_TLS_RECORD_CONTROL_H
#define MCSEAL_TLS_RECORD_CONTROL_H

#include "base/clock.h"
#include "tls/traffic_keys.h"

#include <stdbool.h>

/* RFC 8446 B.1. */
enum record_type {
	RECORD_ALERT = 21,
	RECORD_HANDSHAKE = 22,
	RECORD_DATA = 23,
};

#define RECORD_MAX 16384 /* bytes of content in one record (RFC 8446 5.1) */

/*
 * What a peer may make us do without sending data: KeyUpdates, tickets, harmless alerts.
 */
#define RECORD_UPDATES_BURST 32
#define RECORD_UPDATES_EVERY (60 * CLOCK_SEC) /* one more is allowed after each */

/* Zeroed: nothing spent yet. */
struct record_control_budget {
	clock_us since; /* when what was earned back was last counted */
	uint8_t spent;
};

struct record_control;

/* Who makes the records. */
struct record_maker {
	/* Sends one record of that type, whole. 0; -EAGAIN: no room now; other -errno: lost. */
	int (*send)(struct record_control *control, uint8_t type, const uint8_t *bytes,
		    size_t size);
	/* The next key of a direction; it is in force from the next record on. 0 or -errno. */
	int (*install)(struct record_control *control, enum traffic_direction direction,
		       const struct traffic_keys *keys);
};

/* Only record_control.c writes the fields, but `reason` and `silent`: the maker's faults, too. */
struct record_control {
	const struct record_maker *maker;
	struct kept_secrets *secrets; /* NULL: keys are never changed */
	struct record_control_budget budget;
	uint32_t left; /* bytes of the present message's body still to come */
	uint16_t version;
	uint8_t cipher;
	uint8_t header[4], header_used; /* of a handshake message: type, 3 bytes of length */
	uint8_t body;
	bool client;
	bool due;     /* a KeyUpdate of ours is to be sent ... */
	bool request; /* ... and asks the peer for one */
	bool asked;   /* we have asked; the peer's next KeyUpdate is the answer */
	bool closed;  /* close_notify was received */
	bool silent;  /* an alert of ours is out: nothing may follow it */
	char reason[64];
};

enum record_control_outcome {
	RECORD_CLOSED = 1, /* close_notify: nothing more will come */
};

/* `can_rekey`: the secrets are kept (TLS 1.3). `maker` outlives it. 0 or -ENOMEM. */
int record_control_init(struct record_control *control, const struct record_maker *maker,
			const struct traffic_pair *pair, bool can_rekey);
/* Wipes the secrets. */
void record_control_deinit(struct record_control *control);

/*
 * A record of another type than data, whole, as its key opened it. 0 to go on, RECORD_CLOSED,
 * -EPROTO (alert, message out of place, KeyUpdate where keys cannot be changed), -EDQUOT (a storm
 * of them), or what installing the peer's next key came to. After an error the peer has been told
 * what there was to tell, and nothing more is sent whatever is called.
 */
int record_control_take(struct record_control *control, uint8_t type, const uint8_t *bytes,
			size_t size, clock_us now);
/* A record of data has come. 0, or -EPROTO: inside a handshake message. */
int record_control_meet_data(struct record_control *control);

/* An answer to a KeyUpdate, or a KeyUpdate of our own, waits for the sending side to be still. */
bool record_control_update_due(const struct record_control *control);
/*
 * Sends it and changes the send key; only while nothing else is being sent. 0; -EAGAIN as
 * record_maker's send(); other -errno: the connection is lost.
 */
int record_control_update(struct record_control *control);
/*
 * A key is near its limit: asks for new keys of both directions where that can be (then an update
 * is due), else -EOPNOTSUPP: the connection has to be closed at a good moment.
 */
int record_control_refresh(struct record_control *control);
/* close_notify, best effort. 0, or -errno as record_maker's send(). */
int record_control_say_closed(struct record_control *control);
/* A fatal alert (RFC 8446 6.2 number), best effort; nothing follows it. */
void record_control_alert(struct record_control *control, uint8_t description);
/* Notes why, in an operator's words; returns `error`. */
int record_control_fail(struct record_control *control, int error, const char *reason);
/* Alert, note, -EPROTO. */
int record_control_refuse(struct record_control *control, uint8_t alert, const char *reason);

#endif
