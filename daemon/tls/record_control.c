/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * Handshake messages are a stream of their own over their records (RFC 8446 5.1): `header` and
 * `left` remember where in a message the last record ended. A body is looked at only in one case:
 * the single byte of a KeyUpdate, in `body`.
 *
 * Changing keys: sending the answer to a KeyUpdate may have to wait for a moment when nothing is
 * being sent, so it is only noted (`due`), and any number of requests before it are answered by
 * one (RFC 8446 4.6.3). Between our KeyUpdate and the installation of our next key no byte may
 * leave: record_control_update() does both.
 *
 * What a peer may make us do without ever sending data is limited by `budget`: each message after
 * the handshake counts, whatever it is, but answers to our own KeyUpdates.
 */
#include "tls/record_control.h"

#include "base/error.h"
#include "base/secret.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/ssl.h>
#include <stdio.h>

#define HEADER_SIZE sizeof(((struct record_control *)0)->header)

enum message {
	MESSAGE_HELLO_REQUEST = 0,
	MESSAGE_CLIENT_HELLO = 1,
	MESSAGE_NEW_SESSION_TICKET = 4,
	MESSAGE_KEY_UPDATE = 24,
};

struct kept_secrets {
	struct traffic_secret of[TRAFFIC_DIRECTIONS];
};

_Static_assert(sizeof(struct kept_secrets) <= SECRET_SIZE, "both secrets fit one piece");

/* --- life ------------------------------------------------------------------------------------ */

int record_control_init(struct record_control *control, const struct record_maker *maker,
			const struct traffic_pair *pair, bool can_rekey)
{
	const struct traffic_keys *keys = &pair->keys[TRAFFIC_RECEIVE];

	*control = (struct record_control){.maker = maker,
					   .version = (uint16_t)keys->version,
					   .cipher = (uint8_t)keys->cipher,
					   .client = pair->client};
	if (!can_rekey || keys->version != TRAFFIC_TLS_1_3)
		return 0;
	control->secrets = secret_new();
	if (control->secrets == NULL)
		return -ENOMEM;
	for (int i = 0; i < TRAFFIC_DIRECTIONS; i++)
		control->secrets->of[i] = pair->secrets[i];
	return 0;
}

void record_control_deinit(struct record_control *control)
{
	secret_free(control->secrets);
	control->secrets = NULL;
}

/* --- refusing -------------------------------------------------------------------------------- */

int record_control_fail(struct record_control *control, int error, const char *reason)
{
	snprintf(control->reason, sizeof(control->reason), "%s", reason);
	return error;
}

int record_control_refuse(struct record_control *control, uint8_t alert, const char *reason)
{
	record_control_alert(control, alert);
	return record_control_fail(control, -EPROTO, reason);
}

static bool afford(struct record_control_budget *budget, clock_us now)
{
	clock_us earned = (now - budget->since) / RECORD_UPDATES_EVERY;

	if (earned >= budget->spent) {
		budget->spent = 0;
		budget->since = now;
	} else {
		budget->spent = (uint8_t)(budget->spent - earned);
		budget->since += earned * RECORD_UPDATES_EVERY;
	}
	if (budget->spent == RECORD_UPDATES_BURST)
		return false;
	budget->spent++;
	return true;
}

static int spend(struct record_control *control, clock_us now, const char *reason)
{
	if (afford(&control->budget, now))
		return 0;
	record_control_alert(control, SSL_AD_INTERNAL_ERROR);
	return record_control_fail(control, -EDQUOT, reason);
}

/* --- changing keys --------------------------------------------------------------------------- */

/* The keys that follow the present ones of a direction; `secret` becomes theirs. */
static int next_keys(const struct record_control *control, enum traffic_direction direction,
		     struct traffic_secret *secret, struct traffic_keys *keys)
{
	enum traffic_cipher cipher = (enum traffic_cipher)control->cipher;
	int error;

	*secret = control->secrets->of[direction];
	error = traffic_secret_update(cipher, secret);
	return error < 0 ? error : traffic_keys_expand(cipher, secret, keys);
}

static int install_next(struct record_control *control, enum traffic_direction direction,
			const struct traffic_secret *secret, const struct traffic_keys *keys)
{
	int error = control->maker->install(control, direction, keys);

	if (error == 0)
		control->secrets->of[direction] = *secret;
	return error;
}

static int follow_peer(struct record_control *control)
{
	struct traffic_secret secret = {0};
	struct traffic_keys keys = {0};
	int error = next_keys(control, TRAFFIC_RECEIVE, &secret, &keys);

	if (error == 0)
		error = install_next(control, TRAFFIC_RECEIVE, &secret, &keys);
	OPENSSL_cleanse(&secret, sizeof(secret));
	OPENSSL_cleanse(&keys, sizeof(keys));
	return error < 0
		       ? record_control_fail(control, error, "the peer's next key could not be set")
		       : 0;
}

/* RFC 8446 4.6.3. */
static int take_key_update(struct record_control *control, bool last, clock_us now)
{
	int error = 0;

	if (!last)
		return record_control_refuse(control, SSL_AD_UNEXPECTED_MESSAGE,
					     "peer sent bytes behind a KeyUpdate in its record");
	if (control->body > 1)
		return record_control_refuse(control, SSL_AD_ILLEGAL_PARAMETER,
					     "peer sent a bad KeyUpdate");
	if (control->secrets == NULL) {
		/* Not the peer's fault, and all that it sent so far was good. */
		(void)record_control_say_closed(control);
		control->silent = true;
		return record_control_fail(
			control, -EPROTO, "peer changed its keys, which this kernel cannot follow");
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

bool record_control_update_due(const struct record_control *control)
{
	return control->due && !control->silent;
}

int record_control_update(struct record_control *control)
{
	const uint8_t message[] = {MESSAGE_KEY_UPDATE, 0, 0, 1, control->request};
	struct traffic_secret secret = {0};
	struct traffic_keys keys = {0};
	int error;

	if (!record_control_update_due(control))
		return 0;
	/* Whatever can fail without harm comes before the message leaves. */
	error = next_keys(control, TRAFFIC_SEND, &secret, &keys);
	if (error == 0)
		error = control->maker->send(control, RECORD_HANDSHAKE, message, sizeof(message));
	if (error == 0) {
		error = install_next(control, TRAFFIC_SEND, &secret, &keys);
		if (error < 0) {
			control->silent = true; /* the peer no longer has the present key */
			(void)record_control_fail(control, error, "our next key could not be set");
		}
		control->asked = control->asked || control->request;
		control->due = control->request = false;
	}
	OPENSSL_cleanse(&secret, sizeof(secret));
	OPENSSL_cleanse(&keys, sizeof(keys));
	return error;
}

int record_control_refresh(struct record_control *control)
{
	if (control->secrets == NULL)
		return -EOPNOTSUPP;
	control->due = true;
	control->request = !control->asked;
	return 0;
}

/* --- handshake messages ---------------------------------------------------------------------- */

static uint32_t body_size(const struct record_control *control)
{
	return (uint32_t)control->header[1] << 16 | (uint32_t)control->header[2] << 8 |
	       control->header[3];
}

/* A message has begun: may it come at all? */
static int judge_header(struct record_control *control)
{
	bool tls_1_3 = control->version == TRAFFIC_TLS_1_3;
	enum message message = (enum message)control->header[0];

	if (message == MESSAGE_KEY_UPDATE && tls_1_3) {
		if (body_size(control) != 1)
			return record_control_refuse(control, SSL_AD_DECODE_ERROR,
						     "peer sent a bad KeyUpdate");
		return 0;
	}
	if (message == MESSAGE_NEW_SESSION_TICKET && tls_1_3 && control->client)
		return 0;
	/* RFC 5246 7.2.2 would let us go on after a warning; nobody who needs this is a friend. */
	if (!tls_1_3 && message == (control->client ? MESSAGE_HELLO_REQUEST : MESSAGE_CLIENT_HELLO))
		return record_control_refuse(control, SSL_AD_HANDSHAKE_FAILURE,
					     "peer wants to renegotiate");
	return record_control_refuse(control, SSL_AD_UNEXPECTED_MESSAGE,
				     "peer sent a handshake message out of place");
}

/* A message is whole; `last`: nothing comes behind it in its record. */
static int finish_message(struct record_control *control, bool last, clock_us now)
{
	control->header_used = 0;
	if (control->header[0] == MESSAGE_KEY_UPDATE)
		return take_key_update(control, last, now);
	/* Resumption has all that it needs from the handshake. */
	return spend(control, now, "peer sends too many tickets");
}

/* Takes at least one byte of `bytes` and adds them to *at. */
static int take_piece(struct record_control *control, const uint8_t *bytes, size_t size, size_t *at,
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

static int take_handshake(struct record_control *control, const uint8_t *bytes, size_t size,
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
static int take_alert(struct record_control *control, const uint8_t *bytes, size_t size,
		      clock_us now)
{
	if (size != 2)
		return record_control_refuse(control, SSL_AD_DECODE_ERROR, "peer sent a bad alert");
	if (bytes[1] == SSL_AD_CLOSE_NOTIFY) {
		control->closed = true;
		return RECORD_CLOSED;
	}
	if (bytes[1] == SSL_AD_USER_CANCELLED)
		return spend(control, now, "peer sends too many alerts");
	snprintf(control->reason, sizeof(control->reason), "peer sent alert: %s",
		 SSL_alert_desc_string_long(bytes[1]));
	control->silent = true; /* RFC 8446 6.2: both sides close at once */
	return -EPROTO;
}

int record_control_say_closed(struct record_control *control)
{
	static const uint8_t close_notify[] = {SSL3_AL_WARNING, SSL_AD_CLOSE_NOTIFY};
	int error;

	if (control->silent)
		return 0;
	error = control->maker->send(control, RECORD_ALERT, close_notify, sizeof(close_notify));
	control->silent = error == 0;
	return error;
}

void record_control_alert(struct record_control *control, uint8_t description)
{
	const uint8_t alert[] = {SSL3_AL_FATAL, description};

	if (control->silent)
		return;
	control->silent = true;
	(void)control->maker->send(control, RECORD_ALERT, alert, sizeof(alert));
}

/* --- records --------------------------------------------------------------------------------- */

int record_control_take(struct record_control *control, uint8_t type, const uint8_t *bytes,
			size_t size, clock_us now)
{
	if (size == 0)
		return record_control_refuse(control, SSL_AD_UNEXPECTED_MESSAGE,
					     "peer sent an empty record");
	if (type == RECORD_ALERT)
		return take_alert(control, bytes, size, now);
	if (type == RECORD_HANDSHAKE)
		return take_handshake(control, bytes, size, now);
	return record_control_refuse(control, SSL_AD_UNEXPECTED_MESSAGE,
				     "peer sent a record out of place");
}

int record_control_meet_data(struct record_control *control)
{
	if (control->header_used == 0)
		return 0;
	return record_control_refuse(control, SSL_AD_UNEXPECTED_MESSAGE,
				     "peer sent data inside a handshake message");
}
