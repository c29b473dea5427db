/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * The kernel keeps a record that is not data at the front of the stream until somebody takes it
 * with room for its content type. ktls_control_receive() looks at the type and, as long as it is
 * not data, takes one record after the other, each whole: a record holds at most RECORD_MAX bytes.
 *
 * Handshake messages are a stream of their own over these records (RFC 8446 5.1): `header` and
 * `left` remember where in a message the last record ended. A body is looked at only in one case:
 * the single byte of a KeyUpdate, in `body`.
 *
 * Changing keys: a kernel that can change them (6.14) stops reading at a KeyUpdate until it is
 * given the next key; the secrets for that are in `secrets`, a piece of locked memory. Sending the
 * answer has to wait for a moment when nothing is being sent, so it is only noted (`due`), and
 * any number of requests before it are answered by one (RFC 8446 4.6.3). Between our KeyUpdate and
 * the installation of our next key no byte may leave: ktls_control_update() does both.
 *
 * What a peer may make us do without ever sending data is limited by `budget`: each message after
 * the handshake counts, whatever it is, but answers to our own KeyUpdates.
 */
#include "tls/ktls_control.h"

#include "base/error.h"
#include "base/secret.h"
#include "base/slab.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <string.h>

#define RECORD_MAX  16384 /* RFC 8446 5.1 */
#define HEADER_SIZE 4     /* type, 3 bytes of length */

enum message {
	MESSAGE_HELLO_REQUEST = 0,
	MESSAGE_CLIENT_HELLO = 1,
	MESSAGE_NEW_SESSION_TICKET = 4,
	MESSAGE_KEY_UPDATE = 24,
};

struct kept_secrets {
	struct traffic_secret of[KTLS_DIRECTIONS];
};

_Static_assert(sizeof(struct kept_secrets) <= SECRET_SIZE, "both secrets fit one piece");

struct ktls_control {
	struct kept_secrets *secrets; /* NULL: keys are never changed */
	struct ktls_control_budget budget;
	int fd;
	uint32_t left; /* bytes of the present message's body still to come */
	uint16_t version;
	uint8_t cipher;
	uint8_t header[HEADER_SIZE], header_used;
	uint8_t body;
	bool client;
	bool due;     /* a KeyUpdate of ours is to be sent ... */
	bool request; /* ... and asks the peer for one */
	bool asked;   /* we have asked; the peer's next KeyUpdate is the answer */
	bool closed;  /* close_notify was received */
	bool silent;  /* an alert of ours is out: nothing may follow it */
	char reason[64];
};

static struct slab controls = SLAB_INITIALIZER(sizeof(struct ktls_control));

/* --- from a handshake ------------------------------------------------------------------------ */

static int keep_secrets(struct ktls_control *control, const struct ktls_pair *pair)
{
	control->secrets = secret_new();
	if (control->secrets == NULL)
		return -ENOMEM;
	for (int i = 0; i < KTLS_DIRECTIONS; i++)
		control->secrets->of[i] = pair->secrets[i];
	return 0;
}

static int install_both(int fd, const struct ktls_pair *pair, bool *installed)
{
	int error = ktls_attach(fd);

	/* Receiving first: support for it is younger, and after the first there is no way back. */
	if (error == 0)
		error = ktls_install(fd, KTLS_RECEIVE, &pair->keys[KTLS_RECEIVE]);
	if (error < 0)
		return error;
	*installed = true;
	return ktls_install(fd, KTLS_SEND, &pair->keys[KTLS_SEND]);
}

int ktls_control_new(int fd, const struct ktls_pair *pair, bool can_rekey, bool *installed,
		     struct ktls_control **out)
{
	const struct traffic_keys *keys = &pair->keys[KTLS_RECEIVE];
	struct ktls_control *control = slab_take(&controls);
	int error = 0;

	*installed = false;
	if (control == NULL)
		return -ENOMEM;
	control->fd = fd;
	control->version = (uint16_t)keys->version;
	control->cipher = (uint8_t)keys->cipher;
	control->client = pair->client;
	if (can_rekey && keys->version == TRAFFIC_TLS_1_3)
		error = keep_secrets(control, pair);
	if (error == 0)
		error = install_both(fd, pair, installed);
	if (error < 0) {
		ktls_control_free(control);
		return error;
	}
	*out = control;
	return 0;
}

void ktls_control_free(struct ktls_control *control)
{
	if (control == NULL)
		return;
	secret_free(control->secrets);
	slab_give(&controls, control);
}

/* --- refusing -------------------------------------------------------------------------------- */

static int fail(struct ktls_control *control, int error, const char *reason)
{
	snprintf(control->reason, sizeof(control->reason), "%s", reason);
	return error;
}

static int refuse(struct ktls_control *control, uint8_t alert, const char *reason)
{
	ktls_control_alert(control, alert);
	return fail(control, -EPROTO, reason);
}

bool ktls_control_spend(struct ktls_control_budget *budget, clock_us now)
{
	clock_us earned = (now - budget->since) / KTLS_UPDATES_EVERY;

	if (earned >= budget->spent) {
		budget->spent = 0;
		budget->since = now;
	} else {
		budget->spent = (uint8_t)(budget->spent - earned);
		budget->since += earned * KTLS_UPDATES_EVERY;
	}
	if (budget->spent == KTLS_UPDATES_BURST)
		return false;
	budget->spent++;
	return true;
}

static int spend(struct ktls_control *control, clock_us now, const char *reason)
{
	if (ktls_control_spend(&control->budget, now))
		return 0;
	ktls_control_alert(control, SSL_AD_INTERNAL_ERROR);
	return fail(control, -EDQUOT, reason);
}

/* --- changing keys --------------------------------------------------------------------------- */

/* The keys that follow the present ones of a direction; `secret` becomes theirs. */
static int next_keys(const struct ktls_control *control, enum ktls_direction direction,
		     struct traffic_secret *secret, struct traffic_keys *keys)
{
	enum traffic_cipher cipher = (enum traffic_cipher)control->cipher;
	int error;

	*secret = control->secrets->of[direction];
	error = traffic_secret_update(cipher, secret);
	return error < 0 ? error : traffic_keys_expand(cipher, secret, keys);
}

static int install_next(struct ktls_control *control, enum ktls_direction direction,
			const struct traffic_secret *secret, const struct traffic_keys *keys)
{
	int error = ktls_install(control->fd, direction, keys);

	if (error == 0)
		control->secrets->of[direction] = *secret;
	return error;
}

static int follow_peer(struct ktls_control *control)
{
	struct traffic_secret secret = {0};
	struct traffic_keys keys = {0};
	int error = next_keys(control, KTLS_RECEIVE, &secret, &keys);

	if (error == 0)
		error = install_next(control, KTLS_RECEIVE, &secret, &keys);
	OPENSSL_cleanse(&secret, sizeof(secret));
	OPENSSL_cleanse(&keys, sizeof(keys));
	return error < 0 ? fail(control, error, "the kernel refused the peer's next key") : 0;
}

/* RFC 8446 4.6.3. */
static int take_key_update(struct ktls_control *control, bool last, clock_us now)
{
	int error = 0;

	if (!last)
		return refuse(control, SSL_AD_UNEXPECTED_MESSAGE,
			      "peer sent bytes behind a KeyUpdate in its record");
	if (control->body > 1)
		return refuse(control, SSL_AD_ILLEGAL_PARAMETER, "peer sent a bad KeyUpdate");
	if (control->secrets == NULL) {
		/* Not the peer's fault, and all that it sent so far was good. */
		(void)ktls_control_say_closed(control);
		control->silent = true;
		return fail(control, -EPROTO,
			    "peer changed its keys, which this kernel cannot follow");
	}
	if (!control->asked)
		error = spend(control, now, "peer changes its keys too often");
	if (error < 0)
		return error;
	control->asked = false;
	if (control->body == 1)
		control->due = true;
	return follow_peer(control);
}

bool ktls_control_update_due(const struct ktls_control *control)
{
	return control->due && !control->silent;
}

int ktls_control_update(struct ktls_control *control)
{
	const uint8_t message[] = {MESSAGE_KEY_UPDATE, 0, 0, 1, control->request};
	struct traffic_secret secret = {0};
	struct traffic_keys keys = {0};
	int error;

	if (!ktls_control_update_due(control))
		return 0;
	/* Whatever can fail without harm comes before the message leaves. */
	error = next_keys(control, KTLS_SEND, &secret, &keys);
	if (error == 0)
		error = ktls_send(control->fd, KTLS_RECORD_HANDSHAKE, message, sizeof(message));
	if (error == 0) {
		error = install_next(control, KTLS_SEND, &secret, &keys);
		if (error < 0) {
			control->silent = true; /* the peer no longer has the present key */
			(void)fail(control, error, "the kernel refused our next key");
		}
		control->asked = control->asked || control->request;
		control->due = control->request = false;
	}
	OPENSSL_cleanse(&secret, sizeof(secret));
	OPENSSL_cleanse(&keys, sizeof(keys));
	return error;
}

int ktls_control_refresh(struct ktls_control *control)
{
	if (control->secrets == NULL)
		return -EOPNOTSUPP;
	control->due = true;
	control->request = !control->asked;
	return 0;
}

int ktls_control_use(const struct ktls_control *control, enum ktls_direction direction,
		     uint64_t *records)
{
	const struct traffic_keys like = {.version = (enum traffic_version)control->version,
					  .cipher = (enum traffic_cipher)control->cipher};

	/* A key's first record has number 0 (RFC 8446 5.3), so the next number is the count. */
	return ktls_sequence(control->fd, direction, &like, records);
}

/* --- handshake messages ---------------------------------------------------------------------- */

static uint32_t body_size(const struct ktls_control *control)
{
	return (uint32_t)control->header[1] << 16 | (uint32_t)control->header[2] << 8 |
	       control->header[3];
}

/* A message has begun: may it come at all? */
static int judge_header(struct ktls_control *control)
{
	bool tls_1_3 = control->version == TRAFFIC_TLS_1_3;
	enum message message = (enum message)control->header[0];

	if (message == MESSAGE_KEY_UPDATE && tls_1_3) {
		if (body_size(control) != 1)
			return refuse(control, SSL_AD_DECODE_ERROR, "peer sent a bad KeyUpdate");
		return 0;
	}
	if (message == MESSAGE_NEW_SESSION_TICKET && tls_1_3 && control->client)
		return 0;
	/* RFC 5246 7.2.2 would let us go on after a warning; nobody who needs this is a friend. */
	if (!tls_1_3 && message == (control->client ? MESSAGE_HELLO_REQUEST : MESSAGE_CLIENT_HELLO))
		return refuse(control, SSL_AD_HANDSHAKE_FAILURE, "peer wants to renegotiate");
	return refuse(control, SSL_AD_UNEXPECTED_MESSAGE,
		      "peer sent a handshake message out of place");
}

/* A message is whole; `last`: nothing comes behind it in its record. */
static int finish_message(struct ktls_control *control, bool last, clock_us now)
{
	control->header_used = 0;
	if (control->header[0] == MESSAGE_KEY_UPDATE)
		return take_key_update(control, last, now);
	/* Resumption has all that it needs from the handshake. */
	return spend(control, now, "peer sends too many tickets");
}

/* Takes at least one byte of `bytes` and adds them to *at. */
static int take_piece(struct ktls_control *control, const uint8_t *bytes, size_t size, size_t *at,
		      clock_us now)
{
	size_t take = size - *at;

	if (control->header_used < HEADER_SIZE) {
		control->header[control->header_used++] = bytes[(*at)++];
		if (control->header_used < HEADER_SIZE)
			return 0;
		control->left = body_size(control);
		if (judge_header(control) < 0)
			return -EPROTO;
	} else {
		take = take < control->left ? take : control->left;
		control->body = bytes[*at];
		control->left -= (uint32_t)take;
		*at += take;
	}
	return control->left == 0 ? finish_message(control, *at == size, now) : 0;
}

static int take_handshake(struct ktls_control *control, const uint8_t *bytes, size_t size,
			  clock_us now)
{
	size_t at = 0;
	int error = 0;

	while (error == 0 && at < size)
		error = take_piece(control, bytes, size, &at, now);
	return error;
}

/* --- alerts ---------------------------------------------------------------------------------- */

/* RFC 8446 6: every alert but these two is fatal, whatever its level says. */
static int take_alert(struct ktls_control *control, const uint8_t *bytes, size_t size, clock_us now)
{
	if (size != 2)
		return refuse(control, SSL_AD_DECODE_ERROR, "peer sent a bad alert");
	if (bytes[1] == SSL_AD_CLOSE_NOTIFY) {
		control->closed = true;
		return KTLS_CONTROL_CLOSED;
	}
	if (bytes[1] == SSL_AD_USER_CANCELLED)
		return spend(control, now, "peer sends too many alerts");
	snprintf(control->reason, sizeof(control->reason), "peer sent alert: %s",
		 SSL_alert_desc_string_long(bytes[1]));
	control->silent = true; /* RFC 8446 6.2: both sides close at once */
	return -EPROTO;
}

int ktls_control_say_closed(struct ktls_control *control)
{
	static const uint8_t close_notify[] = {SSL3_AL_WARNING, SSL_AD_CLOSE_NOTIFY};
	int error;

	if (control->silent)
		return 0;
	error = ktls_send(control->fd, KTLS_RECORD_ALERT, close_notify, sizeof(close_notify));
	control->silent = error == 0;
	return error;
}

void ktls_control_alert(struct ktls_control *control, uint8_t description)
{
	const uint8_t alert[] = {SSL3_AL_FATAL, description};

	if (control->silent)
		return;
	control->silent = true;
	(void)ktls_send(control->fd, KTLS_RECORD_ALERT, alert, sizeof(alert));
}

/* --- records --------------------------------------------------------------------------------- */

static int take_record(struct ktls_control *control, uint8_t type, const uint8_t *bytes,
		       size_t size, clock_us now)
{
	if (type == KTLS_RECORD_ALERT)
		return take_alert(control, bytes, size, now);
	if (type == KTLS_RECORD_HANDSHAKE)
		return take_handshake(control, bytes, size, now);
	return refuse(control, SSL_AD_UNEXPECTED_MESSAGE, "peer sent a record out of place");
}

/* What the kernel says instead of a record. */
static int judge_error(struct ktls_control *control, int error)
{
	switch (error) {
	case -EAGAIN:
		return KTLS_CONTROL_NOTHING;
	case -ENODATA:
		return KTLS_CONTROL_END;
	case -EKEYEXPIRED:
		/* The kernel saw a KeyUpdate begin, but the record that it stopped at is only a
		 * part of it: the rest can never be read. */
		return refuse(control, SSL_AD_UNEXPECTED_MESSAGE,
			      "peer sent a KeyUpdate in several records");
	case -EPROTO:
		return refuse(control, SSL_AD_UNEXPECTED_MESSAGE, "peer sent an empty record");
	case -EBADMSG:
	case -EMSGSIZE: /* a length beyond any record's */
	case -EINVAL:   /* a header that is none */
		control->silent = true;
		return fail(control, -EBADMSG, "record altered, forged or out of order");
	default:
		control->silent = true;
		return fail(control, error, strerrordesc_np(-error));
	}
}

/* RFC 8446 5.1: no other record may come between the parts of a message. */
static int meet_data(struct ktls_control *control)
{
	if (control->header_used == 0)
		return KTLS_CONTROL_NOTHING;
	return refuse(control, SSL_AD_UNEXPECTED_MESSAGE,
		      "peer sent data inside a handshake message");
}

/* One record, if it is not data: 0 to go on with the next, or what it comes to. */
static int next_record(struct ktls_control *control, bool *more, clock_us now)
{
	uint8_t bytes[RECORD_MAX], type;
	int error = ktls_peek_type(control->fd, &type);
	ssize_t size;

	*more = false;
	if (error < 0)
		return judge_error(control, error);
	if (type == KTLS_RECORD_DATA)
		return meet_data(control);
	size = ktls_receive(control->fd, bytes, sizeof(bytes), &type);
	if (size <= 0)
		return judge_error(control, size == 0 ? -ENODATA : (int)size);
	*more = true;
	return take_record(control, type, bytes, (size_t)size, now);
}

int ktls_control_receive(struct ktls_control *control, clock_us now)
{
	bool more = true;
	int result = 0;

	if (control->closed)
		return KTLS_CONTROL_CLOSED;
	while (result == 0 && more)
		result = next_record(control, &more, now);
	return result;
}

/* What the kernel says once and never again, having given up the stream. */
static const struct {
	int error;
	uint8_t alert;
	const char *reason;
} headers[] = {
	{-EMSGSIZE, SSL_AD_RECORD_OVERFLOW, "peer sent a record that is too long"},
	{-EBADMSG, SSL_AD_BAD_RECORD_MAC, "record altered, forged or out of order"},
	{-EINVAL, SSL_AD_PROTOCOL_VERSION, "peer sent what is no record"},
};

bool ktls_control_broken(struct ktls_control *control, int error)
{
	uint8_t type;
	size_t i = 0;

	while (i < sizeof(headers) / sizeof(headers[0]) && headers[i].error != error)
		i++;
	if (i == sizeof(headers) / sizeof(headers[0]))
		return false;
	/* Splice's word for a control record? That would be there to be seen. */
	if (error == -EINVAL && ktls_peek_type(control->fd, &type) != -EAGAIN)
		return false;
	/* Leaves only after a bad header: a forged record closes the sending side as well. */
	ktls_control_alert(control, headers[i].alert);
	(void)fail(control, -EBADMSG, headers[i].reason);
	return true;
}

const char *ktls_control_reason(const struct ktls_control *control)
{
	return control->reason;
}
