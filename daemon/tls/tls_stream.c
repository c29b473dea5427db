/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * A record that comes whole is opened where it lies; the beginning of one that was cut waits in
 * `partial`, which has memory only meanwhile. Its header is judged as soon as it is there: nobody
 * makes us wait for more bytes than a record has.
 *
 * What record_control sends (the answer to KeyUpdates, alerts) is sealed at once, so that its
 * number is in order, and waits in `replies` until the leg takes it along. The answer to
 * KeyUpdates is made only then: all that have come until then are answered by one.
 */
#include "tls/tls_stream.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/slab.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <string.h>

/* In a row: they cost us and carry nothing. OpenSSL bears as many. */
#define EMPTY_MAX 32

struct tls_stream {
	struct record_control control;
	struct record_cipher ciphers[TRAFFIC_DIRECTIONS];
	struct buffer partial, replies;
	uint16_t record_max;
	uint8_t empty; /* records without content since the last with some */
};

static struct slab streams = SLAB_INITIALIZER(sizeof(struct tls_stream));

static struct tls_stream *of(struct record_control *control)
{
	return container_of(control, struct tls_stream, control);
}

static int keep_reply(struct record_control *control, uint8_t type, const uint8_t *bytes,
		      size_t size)
{
	struct tls_stream *stream = of(control);
	uint8_t *room = NULL;
	int sealed;

	if (buffer_size(&stream->replies) + size + RECORD_OVERHEAD <= TLS_STREAM_REPLIES_MAX)
		room = buffer_reserve(&stream->replies, size + RECORD_OVERHEAD);
	if (room == NULL)
		return -ENOMEM;
	sealed = record_cipher_seal(&stream->ciphers[TRAFFIC_SEND], type, bytes, size, room);
	if (sealed < 0)
		return sealed;
	buffer_filled(&stream->replies, (size_t)sealed);
	return 0;
}

static int install(struct record_control *control, enum traffic_direction direction,
		   const struct traffic_keys *keys)
{
	return record_cipher_set(&of(control)->ciphers[direction], keys, direction == TRAFFIC_SEND);
}

static const struct record_maker maker = {.send = keep_reply, .install = install};

int tls_stream_new(const struct traffic_pair *pair, struct tls_stream **out)
{
	struct tls_stream *stream = slab_take(&streams);
	int error;

	if (stream == NULL)
		return -ENOMEM;
	stream->record_max = pair->record_max;
	error = record_control_init(&stream->control, &maker, pair, true);
	for (int i = 0; i < TRAFFIC_DIRECTIONS && error == 0; i++)
		error = record_cipher_set(&stream->ciphers[i], &pair->keys[i], i == TRAFFIC_SEND);
	if (error < 0) {
		tls_stream_free(stream);
		return error;
	}
	*out = stream;
	return 0;
}

void tls_stream_free(struct tls_stream *stream)
{
	if (stream == NULL)
		return;
	for (int i = 0; i < TRAFFIC_DIRECTIONS; i++)
		record_cipher_deinit(&stream->ciphers[i]);
	record_control_deinit(&stream->control);
	buffer_deinit(&stream->partial);
	buffer_deinit(&stream->replies);
	slab_give(&streams, stream);
}

/* --- receiving ------------------------------------------------------------------------------- */

/* What is wrong with a record, and what the peer is told: RFC 8446 5.1, 5.2, 5.4. */
static const struct {
	int error;
	uint8_t alert;
	const char *reason;
} faults[] = {
	{-EBADMSG, SSL_AD_BAD_RECORD_MAC, "bad record mac: altered, forged or out of order"},
	{-EMSGSIZE, SSL_AD_RECORD_OVERFLOW, "record overflow: peer sent too long a record"},
	{-EINVAL, SSL_AD_PROTOCOL_VERSION, "wrong version: peer sent what is no record"},
	{-ENOTTY, SSL_AD_UNEXPECTED_MESSAGE, "unexpected message: peer sent a bad record type"},
	{-EPROTO, SSL_AD_UNEXPECTED_MESSAGE, "unexpected message: a record of padding alone"},
};

static int refuse_record(struct tls_stream *stream, int error)
{
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++)
		if (faults[i].error == error)
			return record_control_refuse(&stream->control, faults[i].alert,
						     faults[i].reason);
	return error;
}

static int bear_empty(struct tls_stream *stream)
{
	if (++stream->empty <= EMPTY_MAX)
		return 0;
	record_control_alert(&stream->control, SSL_AD_UNEXPECTED_MESSAGE);
	return record_control_fail(&stream->control, -EDQUOT, "peer sends too many empty records");
}

struct receiver {
	int (*deliver)(void *owner, const uint8_t *bytes, size_t size);
	void *owner;
};

static int open_record(struct tls_stream *stream, const uint8_t *record, size_t size,
		       const struct receiver *receiver)
{
	uint8_t bytes[RECORD_SEALED_MAX], type = 0;
	int got = record_cipher_open(&stream->ciphers[TRAFFIC_RECEIVE], record, size, bytes, &type);
	int error;

	if (got < 0)
		return refuse_record(stream, got);
	if (type != RECORD_DATA)
		return record_control_take(&stream->control, type, bytes, (size_t)got, clock_now());
	error = record_control_meet_data(&stream->control);
	if (error < 0)
		return error;
	if (got == 0)
		return bear_empty(stream);
	stream->empty = 0;
	return receiver->deliver(receiver->owner, bytes, (size_t)got);
}

static int judge_header(struct tls_stream *stream, const uint8_t *header)
{
	int size = record_cipher_judge_header(&stream->ciphers[TRAFFIC_RECEIVE], header);

	return size < 0 ? refuse_record(stream, size) : size;
}

/* Adds to `partial` what belongs to its record, first to the header, and opens it when whole. */
static int take_part(struct tls_stream *stream, const uint8_t **bytes, size_t *left,
		     const struct receiver *receiver)
{
	struct buffer *partial = &stream->partial;
	size_t kept = buffer_size(partial), add;
	int want = RECORD_HEADER, result;

	if (kept >= RECORD_HEADER)
		want = judge_header(stream, buffer_bytes(partial));
	add = (size_t)want - kept < *left ? (size_t)want - kept : *left;
	result = buffer_append(partial, *bytes, add);
	if (result < 0)
		return result;
	*bytes += add;
	*left -= add;
	kept += add;
	if (kept < RECORD_HEADER)
		return 0;
	want = judge_header(stream, buffer_bytes(partial));
	if (want < 0 || kept < (size_t)want)
		return want < 0 ? want : 0;
	result = open_record(stream, buffer_bytes(partial), kept, receiver);
	buffer_deinit(partial);
	return result;
}

static int take(struct tls_stream *stream, const uint8_t **bytes, size_t *left,
		const struct receiver *receiver)
{
	const uint8_t *record = *bytes;
	int size;

	if (buffer_size(&stream->partial) > 0 || *left < RECORD_HEADER)
		return take_part(stream, bytes, left, receiver);
	size = judge_header(stream, record);
	if (size < 0)
		return size;
	if (*left < (size_t)size)
		return take_part(stream, bytes, left, receiver);
	*bytes += size;
	*left -= (size_t)size;
	return open_record(stream, record, (size_t)size, receiver);
}

int tls_stream_unwrap(struct tls_stream *stream, const uint8_t *records, size_t size,
		      int (*deliver)(void *owner, const uint8_t *bytes, size_t size), void *owner)
{
	const struct receiver receiver = {.deliver = deliver, .owner = owner};
	int result = stream->control.closed ? TLS_STREAM_CLOSED : 0;

	while (result == 0 && size > 0)
		result = take(stream, &records, &size, &receiver);
	return result == RECORD_CLOSED ? TLS_STREAM_CLOSED : result;
}

/* --- sending --------------------------------------------------------------------------------- */

size_t tls_stream_replies(struct tls_stream *stream, uint8_t *records)
{
	size_t size;

	(void)record_control_update(&stream->control);
	size = buffer_size(&stream->replies);
	if (size > 0)
		memcpy(records, buffer_bytes(&stream->replies), size);
	buffer_deinit(&stream->replies);
	return size;
}

int tls_stream_wrap(struct tls_stream *stream, const uint8_t *bytes, size_t size, uint8_t *records,
		    size_t *used)
{
	*used = tls_stream_replies(stream, records);
	while (size > 0) {
		size_t part = size < stream->record_max ? size : stream->record_max;
		int sealed =
			stream->control.silent
				? -EPROTO
				: record_cipher_seal(&stream->ciphers[TRAFFIC_SEND], RECORD_DATA,
						     bytes, part, records + *used);

		if (sealed < 0)
			return -EPROTO;
		*used += (size_t)sealed;
		bytes += part;
		size -= part;
	}
	return 0;
}

int tls_stream_wrap_close(struct tls_stream *stream, uint8_t *records, size_t *used)
{
	int error = record_control_say_closed(&stream->control);

	*used = tls_stream_replies(stream, records);
	return error < 0 ? -EPROTO : 0;
}

void tls_stream_use(const struct tls_stream *stream, uint64_t *received, uint64_t *sent)
{
	*received = stream->ciphers[TRAFFIC_RECEIVE].sequence;
	*sent = stream->ciphers[TRAFFIC_SEND].sequence;
}

int tls_stream_refresh(struct tls_stream *stream)
{
	int error = record_control_refresh(&stream->control);

	if (error == 0 && record_control_update(&stream->control) < 0)
		error = -EPROTO;
	return error;
}

const char *tls_stream_reason(const struct tls_stream *stream)
{
	return stream->control.reason;
}
