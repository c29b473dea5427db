/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * The handshake ran on a socket BIO. Here the SSL object gets a BIO of our own (a "slice" BIO)
 * that reads from the caller's bytes and writes to the caller's room: no copy of records is kept
 * between calls. A record cut in two stays inside OpenSSL, whose read buffer exists only while
 * it is needed (SSL_MODE_RELEASE_BUFFERS).
 *
 * Writes that OpenSSL makes while reading (KeyUpdate answers, alerts) have no room of the
 * caller's; they wait in `replies`, in order, and leave before the next wrapped record.
 *
 * OpenSSL follows every KeyUpdate without asking. Its message callback sees them and counts what
 * has to be counted: records under a key, and messages against the peer's budget; once that is
 * spent no further byte is read.
 */
#include "tls/tls_stream.h"

#include "base/clock.h"
#include "base/error.h"

#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <pthread.h>
#include <string.h>

struct tls_stream {
	SSL *ssl;
	const uint8_t *in;
	size_t in_left;
	uint8_t *out; /* NULL: to replies */
	size_t out_used, out_room;
	uint8_t *replies;
	size_t replies_used;
	bool overrun;
	struct ktls_control_budget budget;
	const char *excess; /* of what the peer sends too much */
	bool asked;         /* our KeyUpdate wants one of the peer's */
	uint64_t received, sent;
	char reason[HANDSHAKE_REASON_SIZE];
};

static BIO_METHOD *slice_method;
static pthread_once_t slice_once = PTHREAD_ONCE_INIT;

static int slice_read(BIO *bio, char *bytes, int size)
{
	struct tls_stream *stream = BIO_get_data(bio);
	size_t take = (size_t)size < stream->in_left ? (size_t)size : stream->in_left;

	BIO_clear_retry_flags(bio);
	if (stream->excess != NULL)
		return -1;
	if (take == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	memcpy(bytes, stream->in, take);
	stream->in += take;
	stream->in_left -= take;
	return (int)take;
}

static int keep_reply(struct tls_stream *stream, const char *bytes, size_t size)
{
	if (stream->replies == NULL)
		stream->replies = malloc(TLS_STREAM_REPLIES_MAX);
	if (stream->replies == NULL || size > TLS_STREAM_REPLIES_MAX - stream->replies_used) {
		stream->overrun = true;
		return -1;
	}
	memcpy(stream->replies + stream->replies_used, bytes, size);
	stream->replies_used += size;
	return (int)size;
}

static int slice_write(BIO *bio, const char *bytes, int size)
{
	struct tls_stream *stream = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (stream->out == NULL)
		return keep_reply(stream, bytes, (size_t)size);
	if ((size_t)size > stream->out_room - stream->out_used)
		return -1;
	memcpy(stream->out + stream->out_used, bytes, (size_t)size);
	stream->out_used += (size_t)size;
	return size;
}

static long slice_control(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH ? 1 : 0;
}

static int slice_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

static void make_slice_method(void)
{
	slice_method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "slice");
	if (slice_method == NULL)
		return;
	BIO_meth_set_read(slice_method, slice_read);
	BIO_meth_set_write(slice_method, slice_write);
	BIO_meth_set_ctrl(slice_method, slice_control);
	BIO_meth_set_create(slice_method, slice_create);
}

__attribute__((destructor)) static void free_slice_method(void)
{
	BIO_meth_free(slice_method);
}

static void spend(struct tls_stream *stream, const char *excess)
{
	if (!ktls_control_spend(&stream->budget, clock_now()))
		stream->excess = excess;
}

static void note_received(struct tls_stream *stream, uint8_t message)
{
	if (message == SSL3_MT_NEWSESSION_TICKET)
		spend(stream, "peer sends too many tickets");
	if (message != SSL3_MT_KEY_UPDATE)
		return;
	stream->received = 0;
	if (!stream->asked)
		spend(stream, "peer changes its keys too often");
	stream->asked = false;
}

/* A header comes before the message that its record holds. */
static void note(int sent, int version, int type, const void *bytes, size_t size, SSL *ssl,
		 void *argument)
{
	struct tls_stream *stream = argument;

	(void)version;
	(void)ssl;
	if (type == SSL3_RT_HEADER && sent)
		stream->sent++;
	else if (type == SSL3_RT_HEADER)
		stream->received++;
	if (type != SSL3_RT_HANDSHAKE || size == 0)
		return;
	if (!sent)
		note_received(stream, *(const uint8_t *)bytes);
	else if (*(const uint8_t *)bytes == SSL3_MT_KEY_UPDATE)
		stream->sent = 0;
}

int tls_stream_new(struct handshake *handshake, struct tls_stream **out)
{
	struct tls_stream *stream = calloc(1, sizeof(*stream));
	BIO *bio = NULL;

	pthread_once(&slice_once, make_slice_method);
	if (stream != NULL && slice_method != NULL)
		bio = BIO_new(slice_method);
	if (bio == NULL) {
		free(stream);
		return -ENOMEM;
	}
	BIO_set_data(bio, stream);
	stream->ssl = handshake_steal(handshake);
	SSL_set_msg_callback(stream->ssl, note);
	SSL_set_msg_callback_arg(stream->ssl, stream);
	SSL_set_bio(stream->ssl, bio, bio); /* frees the socket BIO; the descriptor stays open */
	*out = stream;
	return 0;
}

void tls_stream_free(struct tls_stream *stream)
{
	if (stream == NULL)
		return;
	SSL_free(stream->ssl);
	free(stream->replies);
	free(stream);
}

static int broken(struct tls_stream *stream)
{
	unsigned long code = handshake_first_error();
	int reason = ERR_GET_REASON(code);

	if (stream->overrun || stream->excess != NULL) {
		snprintf(stream->reason, sizeof(stream->reason), "%s",
			 stream->excess ? stream->excess
					: "peer demands answers faster than it reads them");
		ERR_clear_error();
		return -EBADMSG;
	}
	if (code != 0 && reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256)
		snprintf(stream->reason, sizeof(stream->reason), "peer sent alert: %s",
			 SSL_alert_desc_string_long(reason - SSL_AD_REASON_OFFSET));
	else if (code != 0 && ERR_reason_error_string(code) != NULL)
		snprintf(stream->reason, sizeof(stream->reason), "%s",
			 ERR_reason_error_string(code));
	else
		snprintf(stream->reason, sizeof(stream->reason), "record layer failed");
	ERR_clear_error();
	return -EPROTO;
}

int tls_stream_unwrap(struct tls_stream *stream, const uint8_t *records, size_t size,
		      int (*deliver)(void *owner, const uint8_t *bytes, size_t size), void *owner)
{
	uint8_t plain[TLS_STREAM_RECORD_MAX];
	int result = 0;

	stream->in = records;
	stream->in_left = size;
	ERR_clear_error();
	while (result == 0) {
		int got = SSL_read(stream->ssl, plain, sizeof(plain));
		int error = got > 0 ? SSL_ERROR_NONE : SSL_get_error(stream->ssl, got);
		bool strained = stream->overrun || stream->excess != NULL;

		if (error == SSL_ERROR_WANT_READ && !strained)
			break; /* everything is taken in; an unfinished record is inside OpenSSL */
		if (error == SSL_ERROR_NONE && !strained)
			result = deliver(owner, plain, (size_t)got);
		else if (error == SSL_ERROR_ZERO_RETURN)
			result = TLS_STREAM_CLOSED;
		else
			result = broken(stream);
	}
	stream->in = NULL;
	stream->in_left = 0;
	return result;
}

size_t tls_stream_replies(struct tls_stream *stream, uint8_t *records)
{
	size_t size = stream->replies_used;

	if (size > 0)
		memcpy(records, stream->replies, size);
	free(stream->replies);
	stream->replies = NULL;
	stream->replies_used = 0;
	return size;
}

static void open_room(struct tls_stream *stream, uint8_t *records, size_t size)
{
	stream->out_used = tls_stream_replies(stream, records);
	stream->out = records;
	stream->out_room = TLS_STREAM_WRAPPED(size) + TLS_STREAM_REPLIES_MAX;
}

int tls_stream_wrap(struct tls_stream *stream, const uint8_t *bytes, size_t size, uint8_t *records,
		    size_t *used)
{
	int written;

	ERR_clear_error();
	open_room(stream, records, size);
	written = size > 0 ? SSL_write(stream->ssl, bytes, (int)size) : 0;
	*used = stream->out_used;
	stream->out = NULL;
	return written == (int)size ? 0 : broken(stream);
}

int tls_stream_wrap_close(struct tls_stream *stream, uint8_t *records, size_t *used)
{
	int result;

	ERR_clear_error();
	open_room(stream, records, 0);
	result = SSL_shutdown(stream->ssl);
	*used = stream->out_used;
	stream->out = NULL;
	ERR_clear_error();
	return result < 0 ? -EPROTO : 0;
}

void tls_stream_use(const struct tls_stream *stream, uint64_t *received, uint64_t *sent)
{
	*received = stream->received;
	*sent = stream->sent;
}

int tls_stream_refresh(struct tls_stream *stream)
{
	int kind = stream->asked ? SSL_KEY_UPDATE_NOT_REQUESTED : SSL_KEY_UPDATE_REQUESTED;

	if (SSL_version(stream->ssl) != TLS1_3_VERSION)
		return -EOPNOTSUPP;
	ERR_clear_error();
	if (SSL_key_update(stream->ssl, kind) != 1 || SSL_do_handshake(stream->ssl) != 1)
		return broken(stream);
	stream->asked = true;
	return 0;
}

const char *tls_stream_reason(const struct tls_stream *stream)
{
	return stream->reason;
}
