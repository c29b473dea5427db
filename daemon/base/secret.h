/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for key material that has to stay: locked against swapping, left out of core dumps and
 * of forked processes, wiped when given back. Small pieces of one size, from pages of their own.
 */
#ifndef MCSEAL_BASE_SECRET_H
#define MCSEAL_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#define SECRET_SIZE 128 /* bytes of one piece: two secrets of TLS 1.3 with their sizes */

/* A zeroed piece of SECRET_SIZE bytes, 16-byte aligned; NULL without memory. Any thread. */
void *secret_new(void);
/* Wipes and gives back. Accepts NULL. Any thread. */
void secret_free(void *secret);
/* False once mlock(2) has been refused (RLIMIT_MEMLOCK): pieces may be swapped, not dumped. */
bool secret_locked(void);

#endif
