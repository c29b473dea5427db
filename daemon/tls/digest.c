/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>

int digest_print(const void *bytes, size_t size, char text[DIGEST_TEXT_SIZE])
{
	unsigned char digest[(DIGEST_TEXT_SIZE - 1) / 2];

	if (EVP_Digest(bytes, size, digest, NULL, EVP_sha256(), NULL) != 1)
		return -ENOMEM;
	for (size_t i = 0; i < sizeof(digest); i++)
		snprintf(text + 2 * i, 3, "%02x", digest[i]);
	return 0;
}
