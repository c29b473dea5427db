/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PLC's remote password in the gateway's hands: read once from its file, kept in locked memory,
 * put into a request on each new connection, and into nothing else.
 */
#ifndef MCSEAL_PROXY_PLC_PASSWORD_H
#define MCSEAL_PROXY_PLC_PASSWORD_H

#include "mc/mc_frame.h"

/* Q and L series: 4 characters, iQ-R and FX5: up to 32 (Ethernet manuals, remote password). */
#define PLC_PASSWORD_MAX          32
#define PLC_PASSWORD_REQUEST_SIZE (MC_FRAME_OVERHEAD + 4 + PLC_PASSWORD_MAX)

struct plc_password;

/*
 * The first line of the file at `path`. 0; -EINVAL: it is no text of 1 to PLC_PASSWORD_MAX
 * characters that a PLC takes (printable ASCII); -ENOMEM; another -errno: not readable. Blocks.
 */
int plc_password_load(const char *path, struct plc_password **password);
/* Wipes it. Accepts NULL. */
void plc_password_free(struct plc_password *password);
/*
 * Writes the request that unlocks the connection that `first` is about to be sent on, in its code
 * and kind of frame (3E for a 1E request, which has no such command), to `out`, which has
 * PLC_PASSWORD_REQUEST_SIZE bytes. Its size. To be wiped by the caller.
 */
size_t plc_password_request(const struct plc_password *password, const struct mc_request *first,
			    uint8_t *out);

#endif
