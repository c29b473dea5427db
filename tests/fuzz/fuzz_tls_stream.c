/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes, and any sealed records, against tls_stream.c, cut anywhere: it comes to an end, gives
 * away nothing that no key has opened, and after a refusal nothing more leaves.
 *
 * Input: a byte of circumstances, then pieces: how (raw or content type), size, bytes.
 */
#include "tls/tls_stream.h"

#include "../unit/record_fixture.h"

#include <assert.h>

enum circumstance {
	CLIENT = 1,
	TLS_1_2 = 2,
	CHACHA = 4,
	BYTE_BY_BYTE = 8,
};

#define RAW 255 /* in place of a content type */

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

struct run {
	struct tls_stream *stream;
	struct traffic_pair pair;
	struct traffic_keys keys; /* the peer's */
	size_t sealed, got;       /* bytes: data is a part of what was sealed */
	bool raw;                 /* something came that nobody sealed */
	bool by_bytes;
};

static void start(struct run *run, uint8_t circumstances)
{
	enum traffic_cipher cipher =
		circumstances & CHACHA ? TRAFFIC_CHACHA20_POLY1305 : TRAFFIC_AES_128_GCM;

	*run = (struct run){.pair = {.record_max = RECORD_MAX, .client = circumstances & CLIENT},
			    .by_bytes = circumstances & BYTE_BY_BYTE};
	for (int i = 0; i < TRAFFIC_DIRECTIONS; i++) {
		run->pair.secrets[i].size = 32;
		assert(traffic_keys_expand(cipher, &run->pair.secrets[i], &run->pair.keys[i]) == 0);
		if (circumstances & TLS_1_2)
			run->pair.keys[i].version = TRAFFIC_TLS_1_2;
	}
	run->keys = run->pair.keys[TRAFFIC_RECEIVE];
	assert(tls_stream_new(&run->pair, &run->stream) == 0);
}

static int count(void *owner, const uint8_t *bytes, size_t size)
{
	struct run *run = owner;

	(void)bytes;
	assert(size > 0);
	run->got += size;
	return 0;
}

static int feed(struct run *run, const uint8_t *bytes, size_t size)
{
	int result = 0;

	if (!run->by_bytes)
		return tls_stream_unwrap(run->stream, bytes, size, count, run);
	for (size_t i = 0; i < size && result == 0; i++)
		result = tls_stream_unwrap(run->stream, bytes + i, 1, count, run);
	return result;
}

/* The peer's next key, as it would take it after a KeyUpdate of its own. */
static void follow(struct run *run, const uint8_t *bytes, size_t size)
{
	struct traffic_secret *secret = &run->pair.secrets[TRAFFIC_RECEIVE];

	if (run->keys.version != TRAFFIC_TLS_1_3 || size != 5 ||
	    memcmp(bytes, "\x18\0\0\1", 4) != 0)
		return;
	assert(traffic_secret_update(run->keys.cipher, secret) == 0);
	assert(traffic_keys_expand(run->keys.cipher, secret, &run->keys) == 0);
}

static int piece(struct run *run, uint8_t how, const uint8_t *bytes, size_t size)
{
	uint8_t record[RECORD_ROOM];
	int result;

	if (how == RAW) {
		run->raw = run->raw || size > 0;
		return feed(run, bytes, size);
	}
	if (!run->raw)
		run->sealed += size;
	result = feed(run, record, record_seal(&run->keys, how, bytes, size, record));
	if (how == 22 && result == 0)
		follow(run, bytes, size);
	return result;
}

static void check_end(struct run *run, int result)
{
	uint8_t records[TLS_STREAM_WRAPPED(1) + TLS_STREAM_REPLIES_MAX];
	size_t used;

	assert(run->got <= run->sealed);
	assert(tls_stream_replies(run->stream, records) <= TLS_STREAM_REPLIES_MAX);
	if (result >= 0)
		return;
	assert(tls_stream_reason(run->stream)[0] != '\0');
	assert(tls_stream_wrap(run->stream, (const uint8_t *)"x", 1, records, &used) < 0);
	assert(used == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct run run;
	int result = 0;

	if (size == 0)
		return 0;
	start(&run, bytes[0]);
	for (size_t at = 1; at + 2 <= size && result == 0;) {
		size_t part = bytes[at + 1];

		part = part < size - at - 2 ? part : size - at - 2;
		result = piece(&run, bytes[at], bytes + at + 2, part);
		at += 2 + part;
	}
	check_end(&run, result);
	tls_stream_free(run.stream);
	return 0;
}
