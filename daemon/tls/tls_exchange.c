/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/tls_exchange.h"

#include <errno.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

/* 0 when the socket is ready for what OpenSSL wants; -ETIMEDOUT. */
static int await(SSL *ssl, int wanted, clock_us deadline)
{
	struct pollfd waiting = {.fd = SSL_get_fd(ssl),
				 .events = wanted == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT};
	clock_us left = deadline - clock_now();

	if (left <= 0)
		return -ETIMEDOUT;
	(void)poll(&waiting, 1, (int)(left / CLOCK_MS) + 1);
	return 0;
}

static int fail(int system_error, char reason[HANDSHAKE_REASON_SIZE])
{
	unsigned long code = ERR_peek_last_error();
	int number = ERR_GET_REASON(code);

	if (code != 0 && number >= SSL_AD_REASON_OFFSET && number < SSL_AD_REASON_OFFSET + 256)
		snprintf(reason, HANDSHAKE_REASON_SIZE, "peer sent alert: %s",
			 SSL_alert_desc_string_long(number - SSL_AD_REASON_OFFSET));
	else if (code != 0 && number != SSL_R_UNEXPECTED_EOF_WHILE_READING)
		snprintf(reason, HANDSHAKE_REASON_SIZE, "%s", ERR_reason_error_string(code));
	else if (system_error != 0)
		snprintf(reason, HANDSHAKE_REASON_SIZE, "connection: %s",
			 strerrordesc_np(system_error));
	else
		snprintf(reason, HANDSHAKE_REASON_SIZE, "peer closed the connection");
	ERR_clear_error();
	return -EPROTO;
}

/* After a call that returned `result` <= 0: 0 to try again. */
static int unfinished(SSL *ssl, int result, clock_us deadline, char reason[HANDSHAKE_REASON_SIZE])
{
	int system_error = errno;
	int error = SSL_get_error(ssl, result);

	if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
		return await(ssl, error, deadline);
	return fail(error == SSL_ERROR_SYSCALL ? system_error : 0, reason);
}

int tls_exchange_send(struct handshake *handshake, const void *bytes, size_t size,
		      clock_us deadline, char reason[HANDSHAKE_REASON_SIZE])
{
	SSL *ssl = handshake_ssl(handshake);
	int result, error = 0;

	do {
		ERR_clear_error();
		errno = 0;
		result = SSL_write(ssl, bytes, (int)size);
		if (result <= 0)
			error = unfinished(ssl, result, deadline, reason);
	} while (result <= 0 && error == 0);
	return error;
}

ssize_t tls_exchange_receive(struct handshake *handshake, void *bytes, size_t size,
			     clock_us deadline, char reason[HANDSHAKE_REASON_SIZE])
{
	SSL *ssl = handshake_ssl(handshake);
	int result, error = 0;

	do {
		ERR_clear_error();
		errno = 0;
		result = SSL_read(ssl, bytes, (int)size);
		if (result <= 0 && SSL_get_error(ssl, result) == SSL_ERROR_ZERO_RETURN)
			return 0;
		if (result <= 0)
			error = unfinished(ssl, result, deadline, reason);
	} while (result <= 0 && error == 0);
	return error < 0 ? error : result;
}

void tls_exchange_end(struct handshake *handshake)
{
	(void)SSL_shutdown(handshake_ssl(handshake));
	ERR_clear_error();
}

time_t tls_exchange_peer_expires(const struct handshake *handshake)
{
	X509 *certificate = SSL_get1_peer_certificate(handshake_ssl(handshake));
	struct tm utc;
	time_t when = 0;

	if (certificate != NULL && ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &utc) == 1)
		when = timegm(&utc);
	X509_free(certificate);
	return when;
}
