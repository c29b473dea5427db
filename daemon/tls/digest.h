/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 (FIPS 180-4) of what people compare: as sha256sum(1) prints it. */
#ifndef MCSEAL_TLS_DIGEST_H
#define MCSEAL_TLS_DIGEST_H

#include <stddef.h>

#define DIGEST_TEXT_SIZE 65

/* Writes 64 hexadecimal digits to `text`. 0 or -ENOMEM. */
int digest_print(const void *bytes, size_t size, char text[DIGEST_TEXT_SIZE]);

#endif
