/* SPDX-License-Identifier: Apache-2.0 */
/*
 * PROXY v2 headers: never reads past the end, gives the same answer for every prefix that is long
 * enough, and what it accepts can be written again and means the same.
 */
#include "net/proxy_header.h"

#include <assert.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct address client, destination, again[2];
	uint8_t written[PROXY_HEADER_MAX];
	size_t consumed = 0, written_size, other = 0;
	int outcome = proxy_header_parse(bytes, size, &client, &destination, &consumed);

	if (outcome == PROXY_HEADER_MORE)
		assert(size < PROXY_HEADER_MAX);
	if (outcome != 0)
		return 0;
	assert(consumed <= size && consumed <= PROXY_HEADER_MAX);
	for (size_t part = 0; part < consumed; part++)
		assert(proxy_header_parse(bytes, part, &again[0], &again[1], &other) ==
		       PROXY_HEADER_MORE);
	written_size = proxy_header_write(written, &client, &destination);
	assert(proxy_header_parse(written, written_size, &again[0], &again[1], &other) == 0);
	assert(other == written_size);
	assert(address_equal(&client, &again[0]) && address_equal(&destination, &again[1]));
	return 0;
}
