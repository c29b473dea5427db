/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works: a multishot receive is armed from the first moment to the last, and one send at a
 * time is under way; what is handed in meanwhile waits in `out`. OpenSSL sits on a BIO of our own:
 * it reads from the receive buffer just delivered and writes behind what waits in `out`. Closing
 * is shutdown(2), upon which the receive ends; the last operation that ends closes the descriptor.
 */
#include "stream.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

/* Bytes a record has beyond what is in it, at most. */
#define RECORD_OVERHEAD 64

static void advance(struct stream *stream);

/* --- OpenSSL's side --------------------------------------------------------------------------- */

static int bio_read(BIO *bio, char *bytes, size_t size, size_t *read)
{
	struct stream *stream = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (stream->in_size == 0) {
		BIO_set_retry_read(bio);
		return 0;
	}
	*read = size < stream->in_size ? size : stream->in_size;
	memcpy(bytes, stream->in, *read);
	stream->in += *read;
	stream->in_size -= *read;
	return 1;
}

static int bio_write(BIO *bio, const char *bytes, size_t size, size_t *written)
{
	struct stream *stream = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (size > sizeof(stream->out) - stream->out_used)
		return 0;
	memcpy(stream->out + stream->out_used, bytes, size);
	stream->out_used += size;
	*written = size;
	return 1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH || command == BIO_CTRL_DUP;
}

bool stream_tls_init(SSL_CTX *context)
{
	BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "stream");

	if (!method)
		return false;
	BIO_meth_set_read_ex(method, bio_read);
	BIO_meth_set_write_ex(method, bio_write);
	BIO_meth_set_ctrl(method, bio_ctrl);
	SSL_CTX_set_app_data(context, method);
	return true;
}

void stream_tls_free(SSL_CTX *context)
{
	if (!context)
		return;
	BIO_meth_free(SSL_CTX_get_app_data(context));
	SSL_CTX_free(context);
}

static bool attach_ssl(struct stream *stream)
{
	BIO *bio = BIO_new(SSL_CTX_get_app_data(SSL_get_SSL_CTX(stream->ssl)));

	if (!bio)
		return false;
	BIO_set_data(bio, stream);
	BIO_set_init(bio, 1);
	SSL_set_bio(stream->ssl, bio, bio);
	return true;
}

/* --- ends ------------------------------------------------------------------------------------- */

static void finish(struct stream *stream)
{
	char problem[STREAM_PROBLEM_SIZE];

	SSL_free(stream->ssl);
	stream->ssl = NULL;
	if (stream->fd >= 0)
		close(stream->fd);
	stream->fd = -1;
	stream->closing = false;
	memcpy(problem, stream->problem, sizeof(problem));
	stream->events->closed(stream, problem[0] ? problem : NULL);
}

/* Once what waits has left: no more operations; the last one to end closes. */
static void wind_up(struct stream *stream)
{
	if (stream->sending)
		return;
	shutdown(stream->fd, SHUT_RDWR);
	if (!stream->receiving && !stream->connecting)
		finish(stream);
}

void stream_close(struct stream *stream, const char *problem)
{
	if (stream->closing)
		return;
	if (problem)
		snprintf(stream->problem, sizeof(stream->problem), "%s", problem);
	else if (stream->ssl && stream->open)
		SSL_shutdown(stream->ssl);
	stream->open = false;
	stream->closing = true;
	advance(stream);
}

static void fail_errno(struct stream *stream, const char *what, int error)
{
	char text[STREAM_PROBLEM_SIZE];

	snprintf(text, sizeof(text), "%s: %s", what, strerror(error));
	stream_close(stream, text);
}

/* The alert of the other side, or our own verdict on its certificate. */
static void fail_tls(struct stream *stream)
{
	unsigned long error = ERR_peek_error();
	const char *words = ERR_reason_error_string(error);
	long verdict = SSL_get_verify_result(stream->ssl);
	char text[STREAM_PROBLEM_SIZE];

	if (ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED)
		snprintf(text, sizeof(text), "we refused its certificate: %s",
			 X509_verify_cert_error_string(verdict));
	else if (ERR_GET_REASON(error) == SSL_R_WRONG_VERSION_NUMBER)
		snprintf(text, sizeof(text), "TLS: the other side does not speak TLS");
	else
		snprintf(text, sizeof(text), "TLS: %s", words ? words : "unknown error");
	ERR_clear_error();
	stream_close(stream, text);
}

/* --- out -------------------------------------------------------------------------------------- */

static void sent(struct loop_op *op, int result, unsigned flags)
{
	struct stream *stream = container_of(op, struct stream, send);

	(void)flags;
	stream->sending = false;
	if (result < 0) {
		stream->out_used = 0;
		/* What the other side said before it went away is worth more than a broken pipe. */
		if (!stream->closing && !stream->receiving)
			fail_errno(stream, "send", -result);
		else if (stream->closing)
			advance(stream);
		return;
	}
	stream->out_used -= (size_t)result;
	memmove(stream->out, stream->out + result, stream->out_used);
	if (stream->out_used == 0 && stream->open && stream->events->sent)
		stream->events->sent(stream);
	if (!stream->sending)
		advance(stream);
}

/* Whatever can be done now: send what waits, or end. */
static void advance(struct stream *stream)
{
	if (stream->out_used > 0 && !stream->sending && !stream->connecting) {
		struct io_uring_sqe *sqe = loop_prepare(stream->loop, &stream->send);

		io_uring_prep_send(sqe, stream->fd, stream->out, stream->out_used,
				   MSG_NOSIGNAL | MSG_WAITALL);
		stream->sending = true;
	}
	if (stream->closing)
		wind_up(stream);
}

size_t stream_room(const struct stream *stream)
{
	size_t room = sizeof(stream->out) - stream->out_used;

	return room < RECORD_OVERHEAD ? 0 : room - RECORD_OVERHEAD;
}

bool stream_send(struct stream *stream, const void *bytes, size_t size)
{
	size_t written;

	if (!stream->open || size > stream_room(stream))
		return false;
	if (!stream->ssl) {
		memcpy(stream->out + stream->out_used, bytes, size);
		stream->out_used += size;
	} else if (SSL_write_ex(stream->ssl, bytes, size, &written) != 1) {
		fail_tls(stream);
		return false;
	}
	advance(stream);
	return true;
}

/* --- in --------------------------------------------------------------------------------------- */

/* True while more may be read. */
static bool tls_step(struct stream *stream)
{
	uint8_t plain[SSL3_RT_MAX_PLAIN_LENGTH];
	size_t size;
	int result, error;

	ERR_clear_error();
	if (!stream->open) {
		result = SSL_do_handshake(stream->ssl);
		if (result == 1) {
			stream->open = true;
			stream->events->opened(stream);
			return stream->open;
		}
	} else {
		result = SSL_read_ex(stream->ssl, plain, sizeof(plain), &size);
		if (result == 1) {
			stream->events->received(stream, plain, size);
			return stream->open;
		}
	}
	error = SSL_get_error(stream->ssl, result);
	if (error == SSL_ERROR_ZERO_RETURN)
		stream_close(stream, "the other side closed the connection (close_notify)");
	else if (error != SSL_ERROR_WANT_READ)
		fail_tls(stream);
	return false;
}

static void take(struct stream *stream, const uint8_t *bytes, size_t size)
{
	if (!stream->ssl) {
		stream->events->received(stream, bytes, size);
		return;
	}
	stream->in = bytes;
	stream->in_size = size;
	while (tls_step(stream))
		;
	advance(stream);
}

static void received(struct loop_op *op, int result, unsigned flags)
{
	struct stream *stream = container_of(op, struct stream, receive);
	struct loop *loop = stream->loop; /* it may be gone in the end */

	stream->receiving = flags & IORING_CQE_F_MORE;
	if (result > 0 && !stream->closing) {
		if (!stream->receiving) {
			loop_receive(loop, op, stream->fd);
			stream->receiving = true;
		}
		take(stream, loop_bytes(loop, flags), (size_t)result);
	} else if (result == -ENOBUFS && !stream->closing) {
		loop_receive(loop, op, stream->fd);
		stream->receiving = true;
	} else if (result == 0 && !stream->closing) {
		stream_close(stream, stream->ssl && !stream->open
					     ? "the other side closed during the TLS handshake"
					     : "the other side closed the connection");
	} else if (result < 0 && !stream->closing) {
		fail_errno(stream, "receive", -result);
	} else if (!stream->receiving) {
		advance(stream);
	}
	if (flags & IORING_CQE_F_BUFFER)
		loop_give_back(loop, flags);
}

static void begin(struct stream *stream)
{
	int one = 1;

	setsockopt(stream->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	loop_receive(stream->loop, &stream->receive, stream->fd);
	stream->receiving = true;
	if (stream->ssl) {
		take(stream, NULL, 0); /* a client's first flight */
		return;
	}
	stream->open = true;
	stream->events->opened(stream);
}

static void connected(struct loop_op *op, int result, unsigned flags)
{
	struct stream *stream = container_of(op, struct stream, connect);

	(void)flags;
	stream->connecting = false;
	if (stream->closing)
		advance(stream);
	else if (result < 0)
		fail_errno(stream, "cannot connect", -result);
	else
		begin(stream);
}

static void reset(struct stream *stream, struct loop *loop, const struct stream_events *events,
		  int fd, SSL *ssl)
{
	stream->loop = loop;
	stream->events = events;
	stream->ssl = ssl;
	stream->fd = fd;
	stream->open = stream->closing = false;
	stream->receiving = stream->sending = stream->connecting = false;
	stream->receive.done = received;
	stream->send.done = sent;
	stream->connect.done = connected;
	stream->in_size = stream->out_used = 0;
	stream->problem[0] = '\0';
}

void stream_connect(struct stream *stream, struct loop *loop, const struct stream_events *events,
		    const struct address *address, SSL *ssl)
{
	int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct io_uring_sqe *sqe;

	reset(stream, loop, events, fd, ssl);
	if (fd < 0 || (ssl && !attach_ssl(stream))) {
		fail_errno(stream, "socket", fd < 0 ? errno : ENOMEM);
		return;
	}
	stream->address = *address;
	sqe = loop_prepare(loop, &stream->connect);
	io_uring_prep_connect(sqe, fd, &stream->address.any, address_size(address));
	stream->connecting = true;
}

void stream_accept(struct stream *stream, struct loop *loop, const struct stream_events *events,
		   int fd, SSL *ssl)
{
	reset(stream, loop, events, fd, ssl);
	if (ssl && !attach_ssl(stream))
		fail_errno(stream, "TLS", ENOMEM);
	else
		begin(stream);
}
