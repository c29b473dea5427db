/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OpenSSL's memory is wiped when it is freed: it frees an SSL object with the session's traffic
 * secrets still in it, and they would lie in the heap until something else is put there.
 */
#ifndef MCSEAL_TLS_TLS_MEMORY_H
#define MCSEAL_TLS_TLS_MEMORY_H

/* Before anything else of OpenSSL is called in this process. 0, or -EBUSY: too late. */
int tls_memory_wipe_on_free(void);

#endif
