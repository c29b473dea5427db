/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Kernel TLS on one socket: keys in, control records in and out, counters out.
 *
 * Interface of the kernel: Documentation/networking/tls.rst, include/uapi/linux/tls.h. The kernel
 * makes and opens data records by itself; it neither sends nor answers alerts or handshake
 * messages. None of these calls blocks.
 */
#ifndef MCSEAL_TLS_KTLS_H
#define MCSEAL_TLS_KTLS_H

#include "tls/traffic_keys.h"

#include <stdbool.h>
#include <sys/types.h>

#define KTLS_CRYPTO_MAX 56 /* bytes of the largest crypto info */

/*
 * The exact bytes that setsockopt() takes: version and cipher (host byte order, 2 bytes each), iv,
 * key, salt, record sequence (big-endian). Returns how many; no padding, no union's size.
 */
size_t ktls_crypto_info(const struct traffic_keys *keys, uint8_t crypto[KTLS_CRYPTO_MAX]);

/*
 * Makes an established TCP socket one of kernel TLS (TCP_ULP). Bytes pass unchanged until keys are
 * installed. 0; -ENOENT: no tls module; -ENOTCONN: the peer has closed already; other -errno.
 */
int ktls_attach(int fd);
/*
 * Installs the keys of one direction; again for a KeyUpdate. 0; -ENOENT: the kernel lacks the
 * cipher; -EBUSY: it has keys and cannot change them (before 6.14; TLS 1.2 always); other -errno.
 * There is no way back: a socket with one direction installed can only go on or be closed.
 */
int ktls_install(int fd, enum traffic_direction direction, const struct traffic_keys *keys);
/* Number of the next record of that direction (getsockopt). 0 or -errno. */
int ktls_sequence(int fd, enum traffic_direction direction, const struct traffic_keys *like,
		  uint64_t *sequence);

/*
 * Of what content type is the record at the front? 0 with *type (RFC 8446 B.1; or another
 * byte); -EAGAIN: none whole; -ENODATA: end of the stream; -EBADMSG (forged), -EKEYEXPIRED (a
 * KeyUpdate is waited for) and other -errno. Takes nothing away.
 */
int ktls_peek_type(int fd, uint8_t *type);
/*
 * Takes (a part of) the record at the front, whatever its type. > 0: bytes; 0: end of the stream;
 * -errno as above.
 */
ssize_t ktls_receive(int fd, uint8_t *bytes, size_t size, uint8_t *type);
/* Sends one record of that type, whole. 0; -EAGAIN: the socket is full, nothing was sent. */
int ktls_send(int fd, uint8_t type, const uint8_t *bytes, size_t size);

#endif
