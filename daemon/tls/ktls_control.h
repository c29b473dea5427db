/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What kernel TLS leaves to the program on an established connection: alerts, KeyUpdate, late
 * tickets, and how much a key has been used. One function for every engine: whoever finds the
 * data path blocked by a record that is no data (EIO from recv, EINVAL from splice, EKEYEXPIRED)
 * calls ktls_control_receive() and does what it says. What such records mean: record_control.
 */
#ifndef MCSEAL_TLS_KTLS_CONTROL_H
#define MCSEAL_TLS_KTLS_CONTROL_H

#include "base/clock.h"
#include "tls/ktls.h"

#include <stdbool.h>

enum ktls_control_outcome {
	KTLS_CONTROL_NOTHING = 0, /* no control record at the front: go on (data, or not yet) */
	KTLS_CONTROL_CLOSED = 1,  /* close_notify: nothing more will come */
	KTLS_CONTROL_END = 2,     /* end of the stream without close_notify */
};

struct ktls_control;

/*
 * Attaches, installs receive then send, and keeps what is needed afterwards. `can_rekey`: the
 * kernel was seen to change keys, so the secrets are kept. 0; -errno with *installed telling
 * whether the socket has keys already and can only be closed. Not installed: the same socket goes
 * on with keys in user space.
 */
int ktls_control_new(int fd, const struct traffic_pair *pair, bool can_rekey, bool *installed,
		     struct ktls_control **control);
/* Wipes. Accepts NULL. Leaves the socket alone. */
void ktls_control_free(struct ktls_control *control);

/*
 * Takes control records off the front until data or nothing is there. An outcome; or -EPROTO
 * (alert, message out of place, KeyUpdate without a kernel that can: ktls_control_reason() says),
 * -EBADMSG (forged record), -EDQUOT (a storm of them), or what the socket said (-ECONNRESET).
 * Installs new receive keys itself and notes that an answer is due. After an error the peer has
 * been told what there was to tell, and nothing more is sent whatever is called.
 */
int ktls_control_receive(struct ktls_control *control, clock_us now);
/*
 * Before that, with what the data path saw (-errno): has the kernel given up the stream? A record
 * with a bad header or length is told once (-EMSGSIZE, -EBADMSG, -EINVAL), and the socket is silent
 * from then on (net/tls/tls_strp.c); -EINVAL is also splice's word for a record that is no data.
 * True: the peer was told by an alert, and ktls_control_reason() says what it was.
 */
bool ktls_control_broken(struct ktls_control *control, int error);
/* An answer to a KeyUpdate, or a KeyUpdate of our own, waits for the sending side to be still. */
bool ktls_control_update_due(const struct ktls_control *control);
/*
 * Sends it and changes the send key; only while nothing else is being sent. 0; -EAGAIN: the
 * socket is full, call again when it is writable; other -errno: the connection is lost.
 */
int ktls_control_update(struct ktls_control *control);
/* close_notify, best effort. 0, or -errno as ktls_send(). */
int ktls_control_say_closed(struct ktls_control *control);
/* A fatal alert (RFC 8446 6.2 number), best effort. */
void ktls_control_alert(struct ktls_control *control, uint8_t description);

/* Records made or opened with the present key of a direction. 0 or -errno. */
int ktls_control_use(const struct ktls_control *control, enum traffic_direction direction,
		     uint64_t *records);
/*
 * A key is near its limit: asks for new keys of both directions where that can be (then an update
 * is due), else -EOPNOTSUPP: the connection has to be closed at a good moment.
 */
int ktls_control_refresh(struct ktls_control *control);
/* Why -EPROTO and the like, in an operator's words. */
const char *ktls_control_reason(const struct ktls_control *control);

#endif
