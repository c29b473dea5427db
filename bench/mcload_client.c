/* SPDX-License-Identifier: Apache-2.0 */
#include "mcload_client.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "mcload_tls.h"

#define PROXY_HEADER_MAX 52

static void wrong(struct mcload_client *client, const char *text)
{
	client->wrong = true;
	client->waiting = false;
	stream_close(&client->stream, text);
}

/* --- answers ---------------------------------------------------------------------------------- */

/* The word at fault, in an operator's terms. */
static void wrong_data(struct mcload_client *client, const uint8_t *bytes, const uint8_t *expected,
		       size_t size, size_t offset)
{
	char text[STREAM_PROBLEM_SIZE];
	size_t at = 0;

	while (at + 1 < size && bytes[at] == expected[at])
		at++;
	snprintf(text, sizeof(text),
		 "wrong answer to a read of D%u and %u words: byte %zu of the data (D%zu) is %02x, "
		 "expected %02x",
		 client->number, client->words, offset + at, client->number + (offset + at) / 2,
		 bytes[at], expected[at]);
	wrong(client, text);
}

static void wrong_head(struct mcload_client *client)
{
	char text[STREAM_PROBLEM_SIZE], hex[2 * PATTERN_HEAD_SIZE + 1];

	for (size_t i = 0; i < PATTERN_HEAD_SIZE; i++)
		snprintf(hex + 2 * i, 3, "%02x", client->head[i]);
	snprintf(text, sizeof(text), "wrong answer to a read of D%u and %u words: it begins %s",
		 client->number, client->words, hex);
	wrong(client, text);
}

/* All of the head is there. False: it is wrong. */
static bool judge_head(struct mcload_client *client)
{
	uint8_t expected[PATTERN_HEAD_SIZE];

	pattern_put_head(expected, client->words);
	if (memcmp(client->head, expected, sizeof(expected)) == 0)
		return true;
	client->end_code = get_le16(client->head + 9);
	if (memcmp(client->head, expected, 7) == 0 && client->end_code &&
	    get_le16(client->head + 7) >= 2) {
		client->size = 9u + get_le16(client->head + 7);
		return true;
	}
	wrong_head(client);
	return false;
}

/* Takes what belongs to the head; returns how much that was, or more than `size` if wrong. */
static size_t take_head(struct mcload_client *client, const uint8_t *bytes, size_t size)
{
	size_t part = PATTERN_HEAD_SIZE - client->got;

	if (part > size)
		part = size;
	memcpy(client->head + client->got, bytes, part);
	client->got += (uint32_t)part;
	if (client->got == PATTERN_HEAD_SIZE && !judge_head(client))
		return size + 1;
	return part;
}

static void complete(struct mcload_client *client)
{
	client->waiting = false;
	client->events->answered(client,
				 client->end_code ? MCLOAD_ANSWER_REFUSED : MCLOAD_ANSWER_RIGHT);
}

static void received(struct stream *stream, const uint8_t *bytes, size_t size)
{
	struct mcload_client *client = container_of(stream, struct mcload_client, stream);
	size_t offset, part;

	if (!client->waiting) {
		wrong(client, "wrong: bytes that answer nothing");
		return;
	}
	client->pieces++;
	if (client->got < PATTERN_HEAD_SIZE) {
		part = take_head(client, bytes, size);
		if (part > size)
			return;
		bytes += part;
		size -= part;
	}
	if (size > client->size - client->got) {
		wrong(client, "wrong: more bytes than the answer has");
		return;
	}
	offset = client->got - PATTERN_HEAD_SIZE;
	/* What stands in a refusal is for people; its length has been looked at. */
	if (size > 0 && !client->end_code) {
		const uint8_t *expected = pattern_data(client->pattern, client->number) + offset;

		if (memcmp(bytes, expected, size) != 0) {
			wrong_data(client, bytes, expected, size, offset);
			return;
		}
	}
	client->got += (uint32_t)size;
	if (client->got == client->size)
		complete(client);
}

/* --- requests --------------------------------------------------------------------------------- */

static void send_request(struct mcload_client *client, const uint8_t *request, size_t size,
			 clock_ns now)
{
	client->size = PATTERN_HEAD_SIZE + 2u * client->words;
	client->got = client->pieces = 0;
	client->end_code = 0;
	client->since = now;
	client->requests++;
	client->waiting = true;
	/* It only fails on a stream that has failed, and then says so by itself. */
	(void)stream_send(&client->stream, request, size);
}

void mcload_client_read(struct mcload_client *client, clock_ns now)
{
	const struct mcload_options *options = client->options;
	/* Any two steps without a common factor do: neighbours in time and index differ. */
	uint32_t step = client->index * 61 + client->requests * 7919;
	uint8_t request[PATTERN_READ_SIZE];

	client->words = options->words;
	client->number = options->head + step % (MCLOAD_AREA - options->words + 1);
	pattern_put_read(request, client->number, client->words);
	send_request(client, request, sizeof(request), now);
}

void mcload_client_write(struct mcload_client *client, uint32_t number, uint16_t words,
			 clock_ns now)
{
	uint8_t request[PATTERN_WRITE_MAX];
	size_t size = pattern_put_write(client->pattern, request, number, words);

	client->words = 0;
	client->number = number;
	send_request(client, request, size, now);
}

/* --- connections ------------------------------------------------------------------------------ */

/* PROXY protocol v2, the form in which an edge says for whom and where to: from this socket. */
static size_t put_proxy_header(const struct mcload_client *client, uint8_t *out)
{
	static const uint8_t signature[12] = "\r\n\r\n\0\r\nQUIT\n";
	const struct address *to = &client->options->destination;
	struct sockaddr_storage local;
	socklen_t size = sizeof(local);
	struct address from;
	bool v6 = to->any.sa_family == AF_INET6;

	getsockname(client->stream.fd, (struct sockaddr *)&local, &size);
	address_from_sockaddr(&local, &from);
	memset(out, 0, PROXY_HEADER_MAX);
	memcpy(out, signature, sizeof(signature));
	out[12] = 0x21;
	out[13] = v6 ? 0x21 : 0x11;
	put_be16(out + 14, v6 ? 36 : 12);
	if (v6) {
		if (from.any.sa_family == AF_INET6)
			memcpy(out + 16, &from.v6.sin6_addr, 16);
		memcpy(out + 32, &to->v6.sin6_addr, 16);
		put_be16(out + 48, address_port(&from));
		put_be16(out + 50, address_port(to));
		return 52;
	}
	if (from.any.sa_family == AF_INET)
		memcpy(out + 16, &from.v4.sin_addr, 4);
	memcpy(out + 20, &to->v4.sin_addr, 4);
	put_be16(out + 24, address_port(&from));
	put_be16(out + 26, address_port(to));
	return 28;
}

static void opened(struct stream *stream)
{
	struct mcload_client *client = container_of(stream, struct mcload_client, stream);
	uint8_t header[PROXY_HEADER_MAX];

	client->resumed = stream->ssl && SSL_session_reused(stream->ssl);
	if (client->options->is_edge)
		(void)stream_send(stream, header, put_proxy_header(client, header));
	client->events->opened(client);
}

static void closed(struct stream *stream, const char *problem)
{
	struct mcload_client *client = container_of(stream, struct mcload_client, stream);

	client->waiting = false;
	client->events->closed(client, problem);
}

static const struct stream_events stream_events = {
	.opened = opened,
	.received = received,
	.closed = closed,
};

void mcload_client_open(struct mcload_client *client, struct loop *loop, SSL_CTX *tls,
			const struct mcload_options *options, const struct pattern *pattern,
			const struct mcload_client_events *events, clock_ns now)
{
	const struct address *target = &options->targets[client->index % options->target_count];
	SSL *ssl = tls ? mcload_tls_session(tls, options, target, &client->ticket) : NULL;

	client->events = events;
	client->options = options;
	client->pattern = pattern;
	client->since = now;
	client->waiting = client->wrong = client->resumed = false;
	if (tls && !ssl)
		events->closed(client, "out of memory");
	else
		stream_connect(&client->stream, loop, &stream_events, target, ssl);
}

void mcload_client_close(struct mcload_client *client, const char *problem)
{
	client->waiting = false;
	stream_close(&client->stream, problem);
}
