/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PROXY protocol header, version 2, between an edge and a gateway: whom the edge carries and
 * where that client wanted to go. Source: HAProxy's proxy-protocol.txt, section 2.2.
 *
 * Pure: bytes in, addresses out. It is only ever looked for where ALPN and role demand it; its
 * first byte (0D) could also begin an MC 1E frame.
 */
#ifndef MCSEAL_NET_PROXY_HEADER_H
#define MCSEAL_NET_PROXY_HEADER_H

#include "base/address.h"

#include <stddef.h>
#include <stdint.h>

#define PROXY_HEADER_MAX 232 /* what is accepted, options (TLVs) included */

enum proxy_header_outcome {
	PROXY_HEADER_MORE = 1, /* so far right, but not whole */
};

/*
 * Parses the header at the start of `bytes`. Only command PROXY over TCP with addresses is
 * taken: LOCAL, UNSPEC and UDP name no destination and are -EPROTO, as is anything malformed.
 * 0 with *consumed (options are skipped), PROXY_HEADER_MORE, or -EPROTO.
 */
int proxy_header_parse(const uint8_t *bytes, size_t size, struct address *client,
		       struct address *destination, size_t *consumed);

/*
 * Writes the header for a TCP connection. An edge with a fixed destination may have clients of the
 * other family: both are then told as IPv6. Returns its size.
 */
size_t proxy_header_write(uint8_t bytes[PROXY_HEADER_MAX], const struct address *client,
			  const struct address *destination);

#endif
