/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * The kernel keeps a record that is not data at the front of the stream until somebody takes it
 * with room for its content type. ktls_control_receive() looks at the type and, as long as it is
 * not data, takes one record after the other, each whole. What they say is record_control's
 * affair; here they are got and sent.
 *
 * A kernel that can change keys (6.14) stops reading at a KeyUpdate until it is given the next
 * key.
 */
#include "tls/ktls_control.h"

#include "base/error.h"
#include "base/slab.h"
#include "tls/record_control.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <string.h>

struct ktls_control {
	struct record_control control;
	int fd;
};

static struct slab controls = SLAB_INITIALIZER(sizeof(struct ktls_control));

static struct ktls_control *of(struct record_control *control)
{
	return container_of(control, struct ktls_control, control);
}

static int send_record(struct record_control *control, uint8_t type, const uint8_t *bytes,
		       size_t size)
{
	return ktls_send(of(control)->fd, type, bytes, size);
}

static int install(struct record_control *control, enum traffic_direction direction,
		   const struct traffic_keys *keys)
{
	return ktls_install(of(control)->fd, direction, keys);
}

static const struct record_maker maker = {.send = send_record, .install = install};

/* --- from a handshake ------------------------------------------------------------------------ */

static int install_both(int fd, const struct traffic_pair *pair, bool *installed)
{
	int error = ktls_attach(fd);

	/* Receiving first: support for it is younger, and after the first there is no way back. */
	if (error == 0)
		error = ktls_install(fd, TRAFFIC_RECEIVE, &pair->keys[TRAFFIC_RECEIVE]);
	if (error < 0)
		return error;
	*installed = true;
	return ktls_install(fd, TRAFFIC_SEND, &pair->keys[TRAFFIC_SEND]);
}

int ktls_control_new(int fd, const struct traffic_pair *pair, bool can_rekey, bool *installed,
		     struct ktls_control **out)
{
	struct ktls_control *ktls = slab_take(&controls);
	int error;

	*installed = false;
	if (ktls == NULL)
		return -ENOMEM;
	ktls->fd = fd;
	error = record_control_init(&ktls->control, &maker, pair, can_rekey);
	if (error == 0)
		error = install_both(fd, pair, installed);
	if (error < 0) {
		ktls_control_free(ktls);
		return error;
	}
	*out = ktls;
	return 0;
}

void ktls_control_free(struct ktls_control *ktls)
{
	if (ktls == NULL)
		return;
	record_control_deinit(&ktls->control);
	slab_give(&controls, ktls);
}

/* --- what record_control does ---------------------------------------------------------------- */

bool ktls_control_update_due(const struct ktls_control *ktls)
{
	return record_control_update_due(&ktls->control);
}

int ktls_control_update(struct ktls_control *ktls)
{
	return record_control_update(&ktls->control);
}

int ktls_control_refresh(struct ktls_control *ktls)
{
	return record_control_refresh(&ktls->control);
}

int ktls_control_say_closed(struct ktls_control *ktls)
{
	return record_control_say_closed(&ktls->control);
}

void ktls_control_alert(struct ktls_control *ktls, uint8_t description)
{
	record_control_alert(&ktls->control, description);
}

int ktls_control_use(const struct ktls_control *ktls, enum traffic_direction direction,
		     uint64_t *records)
{
	const struct traffic_keys like = {.version = (enum traffic_version)ktls->control.version,
					  .cipher = (enum traffic_cipher)ktls->control.cipher};

	/* A key's first record has number 0 (RFC 8446 5.3), so the next number is the count. */
	return ktls_sequence(ktls->fd, direction, &like, records);
}

/* --- records --------------------------------------------------------------------------------- */

/* What the kernel says instead of a record. */
static int judge_error(struct ktls_control *ktls, int error)
{
	switch (error) {
	case -EAGAIN:
		return KTLS_CONTROL_NOTHING;
	case -ENODATA:
		return KTLS_CONTROL_END;
	case -EKEYEXPIRED:
		/* The kernel saw a KeyUpdate begin, but the record that it stopped at is only a
		 * part of it: the rest can never be read. */
		return record_control_refuse(&ktls->control, SSL_AD_UNEXPECTED_MESSAGE,
					     "peer sent a KeyUpdate in several records");
	case -EPROTO:
		return record_control_refuse(&ktls->control, SSL_AD_UNEXPECTED_MESSAGE,
					     "peer sent an empty record");
	case -EBADMSG:
	case -EMSGSIZE: /* a length beyond any record's */
	case -EINVAL:   /* a header that is none */
		ktls->control.silent = true;
		return record_control_fail(&ktls->control, -EBADMSG,
					   "record altered, forged or out of order");
	default:
		ktls->control.silent = true;
		return record_control_fail(&ktls->control, error, strerrordesc_np(-error));
	}
}

/* One record, if it is not data: 0 to go on with the next, or what it comes to. */
static int next_record(struct ktls_control *ktls, bool *more, clock_us now)
{
	uint8_t bytes[RECORD_MAX], type;
	int error = ktls_peek_type(ktls->fd, &type);
	ssize_t size;

	*more = false;
	if (error < 0)
		return judge_error(ktls, error);
	if (type == RECORD_DATA)
		return record_control_meet_data(&ktls->control);
	size = ktls_receive(ktls->fd, bytes, sizeof(bytes), &type);
	if (size <= 0)
		return judge_error(ktls, size == 0 ? -ENODATA : (int)size);
	*more = true;
	return record_control_take(&ktls->control, type, bytes, (size_t)size, now);
}

int ktls_control_receive(struct ktls_control *ktls, clock_us now)
{
	bool more = true;
	int result = 0;

	if (ktls->control.closed)
		return KTLS_CONTROL_CLOSED;
	while (result == 0 && more)
		result = next_record(ktls, &more, now);
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

bool ktls_control_broken(struct ktls_control *ktls, int error)
{
	uint8_t type;
	size_t i = 0;

	while (i < sizeof(headers) / sizeof(headers[0]) && headers[i].error != error)
		i++;
	if (i == sizeof(headers) / sizeof(headers[0]))
		return false;
	/* Splice's word for a control record? That would be there to be seen. */
	if (error == -EINVAL && ktls_peek_type(ktls->fd, &type) != -EAGAIN)
		return false;
	/* Leaves only after a bad header: a forged record closes the sending side as well. */
	ktls_control_alert(ktls, headers[i].alert);
	(void)record_control_fail(&ktls->control, -EBADMSG, headers[i].reason);
	return true;
}

const char *ktls_control_reason(const struct ktls_control *ktls)
{
	return ktls->control.reason;
}
