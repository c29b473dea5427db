/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mcecho: the PLC of a measurement. It answers 3E binary batch reads of D devices with the pattern
 * that mcload expects (pattern.h), as fast as it can, and knows nothing else: mcplc is the PLC to
 * develop against. It takes any number of connections, plain or in mutual TLS.
 */
#include <argp.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include "base/bytes.h"
#include "base/error.h"
#include "mc/mc_frame.h"
#include "pattern.h"
#include "stream.h"

#define PORTS_MAX 64
#define BACKLOG   4096

struct port {
	struct loop_op accept;
	struct server *server;
	struct address address;
	int fd;
};

struct options {
	struct address addresses[PORTS_MAX];
	size_t count;
	const char *certificate, *key, *ca;
};

struct server {
	struct loop loop;
	struct pattern pattern;
	SSL_CTX *tls; /* NULL = plain */
	struct loop_op signals;
	bool stopping;
	LIST_HEAD(client_list, client) clients;
	size_t port_count;
	struct port ports[PORTS_MAX];
};

/* One of the clients. */
struct client {
	struct stream stream;
	struct server *server;
	LIST_ENTRY(client) link;
	size_t used;
	uint8_t in[LOOP_BUFFER_SIZE]; /* a request whose rest has not come yet */
};

/* --- requests --------------------------------------------------------------------------------- */

static void answer_read(struct client *client, uint32_t number, uint16_t words)
{
	uint8_t answer[PATTERN_HEAD_SIZE + 2 * PATTERN_READ_MAX];
	size_t size = (size_t)2 * words;

	pattern_put_head(answer, words);
	memcpy(answer + PATTERN_HEAD_SIZE, pattern_data(&client->server->pattern, number), size);
	if (!stream_send(&client->stream, answer, PATTERN_HEAD_SIZE + size))
		stream_close(&client->stream, "too many requests at once");
}

/* Everything but a batch read of D. */
static void answer_other(struct client *client, const uint8_t *bytes, size_t size)
{
	uint8_t answer[MC_FRAME_ERROR_SIZE];
	struct mc_request request;

	if (mc_frame_parse_request(bytes, size, &request)) {
		stream_close(&client->stream, "not an MC request");
		return;
	}
	size = mc_frame_put_error(&request, 0xc059, 0, answer, sizeof(answer));
	if (!stream_send(&client->stream, answer, size))
		stream_close(&client->stream, "too many requests at once");
}

/* The size of the first request in these bytes; 0: not all of it is there. */
static size_t take_request(struct client *client, const uint8_t *bytes, size_t size)
{
	struct mc_stream fresh = {.family = MC_FAMILY_NONE};
	struct mc_frame frame;
	uint32_t number;
	uint16_t words;

	if (size >= PATTERN_READ_SIZE && pattern_get_read(bytes, &number, &words)) {
		answer_read(client, number, words);
		return PATTERN_READ_SIZE;
	}
	switch (mc_stream_split(&fresh, MC_REQUEST, bytes, size, sizeof(client->in), &frame)) {
	case MC_SPLIT_FRAME:
		answer_other(client, bytes, frame.length);
		return frame.length;
	case MC_SPLIT_BAD:
		stream_close(&client->stream, "not an MC request");
		return 0;
	default:
		return 0;
	}
}

static void take_requests(struct client *client, const uint8_t *bytes, size_t size)
{
	size_t taken;

	while (size > 0 && client->stream.open && (taken = take_request(client, bytes, size)) > 0) {
		bytes += taken;
		size -= taken;
	}
	memmove(client->in, bytes, size);
	client->used = size;
}

static void client_received(struct stream *stream, const uint8_t *bytes, size_t size)
{
	struct client *client = container_of(stream, struct client, stream);

	if (client->used == 0 && size <= sizeof(client->in)) {
		take_requests(client, bytes, size);
		return;
	}
	if (size > sizeof(client->in) - client->used) {
		stream_close(stream, "too many requests at once");
		return;
	}
	memcpy(client->in + client->used, bytes, size);
	take_requests(client, client->in, client->used + size);
}

static void client_opened(struct stream *stream)
{
	(void)stream;
}

static void client_closed(struct stream *stream, const char *problem)
{
	struct client *client = container_of(stream, struct client, stream);

	(void)problem; /* clients come and go as they like */
	LIST_REMOVE(client, link);
	free(client);
}

static const struct stream_events client_events = {
	.opened = client_opened,
	.received = client_received,
	.closed = client_closed,
};

/* --- ports ------------------------------------------------------------------------------------ */

static void take_client(struct server *server, int fd)
{
	struct client *client = calloc(1, sizeof(*client));
	SSL *ssl = server->tls ? SSL_new(server->tls) : NULL;

	if (!client || (server->tls && !ssl)) {
		free(client);
		SSL_free(ssl);
		close(fd);
		return;
	}
	client->server = server;
	LIST_INSERT_HEAD(&server->clients, client, link);
	if (ssl)
		SSL_set_accept_state(ssl);
	stream_accept(&client->stream, &server->loop, &client_events, fd, ssl);
}

static void port_accept(struct port *port)
{
	struct io_uring_sqe *sqe = loop_prepare(&port->server->loop, &port->accept);

	io_uring_prep_multishot_accept(sqe, port->fd, NULL, NULL, SOCK_CLOEXEC);
}

static void port_accepted(struct loop_op *op, int result, unsigned flags)
{
	struct port *port = container_of(op, struct port, accept);

	if (result >= 0)
		take_client(port->server, result);
	if (!(flags & IORING_CQE_F_MORE) && !port->server->stopping)
		port_accept(port);
}

static int port_open(struct server *server, const struct address *wanted)
{
	struct port *port = &server->ports[server->port_count];
	cleanup_fd int fd = socket(wanted->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_storage bound;
	socklen_t size = sizeof(bound);
	int one = 1;

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, &wanted->any, address_size(wanted)) || listen(fd, BACKLOG) ||
	    getsockname(fd, (struct sockaddr *)&bound, &size))
		return -errno;
	address_from_sockaddr(&bound, &port->address);
	port->server = server;
	port->accept.done = port_accepted;
	port->fd = steal_fd(&fd);
	server->port_count++;
	port_accept(port);
	return 0;
}

/* --- the server ------------------------------------------------------------------------------- */

static void signalled(struct loop_op *op, int result, unsigned flags)
{
	(void)result;
	(void)flags;
	container_of(op, struct server, signals)->stopping = true;
}

static int watch_signals(struct server *server)
{
	sigset_t mask;
	int fd;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	fd = signalfd(-1, &mask, SFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	server->signals.done = signalled;
	io_uring_prep_poll_add(loop_prepare(&server->loop, &server->signals), fd, POLLIN);
	return 0;
}

static bool use_tls(struct server *server, const struct options *options)
{
	if (!options->certificate)
		return true;
	server->tls = SSL_CTX_new(TLS_server_method());
	if (!server->tls || !stream_tls_init(server->tls))
		return false;
	SSL_CTX_set_min_proto_version(server->tls, TLS1_3_VERSION);
	SSL_CTX_set_verify(server->tls, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_read_ahead(server->tls, 1);
	SSL_CTX_set_num_tickets(server->tls, 0);
	SSL_CTX_set_ciphersuites(server->tls, "TLS_AES_128_GCM_SHA256");
	return SSL_CTX_use_certificate_chain_file(server->tls, options->certificate) == 1 &&
	       SSL_CTX_use_PrivateKey_file(server->tls, options->key, SSL_FILETYPE_PEM) == 1 &&
	       SSL_CTX_load_verify_file(server->tls, options->ca) == 1;
}

static int failed(const char *what, int error)
{
	fprintf(stderr, "mcecho: %s: %s\n", what, strerror(-error));
	return EXIT_FAILURE;
}

static int serve(struct server *server)
{
	int error = 0;

	for (size_t i = 0; i < server->port_count; i++) {
		char text[ADDRESS_TEXT_SIZE];

		printf("mcecho: ready %s\n", address_print(&server->ports[i].address, text));
	}
	fflush(stdout);
	while (!server->stopping && !error)
		error = loop_turn(&server->loop, -1);
	return error ? failed("io_uring", error) : EXIT_SUCCESS;
}

static int run(struct server *server, const struct options *options)
{
	const char *step;
	int error = loop_init(&server->loop, &step);

	if (error)
		return failed(step, error);
	if (!use_tls(server, options)) {
		fprintf(stderr, "mcecho: cannot use certificate, key or CA\n");
		return EXIT_FAILURE;
	}
	error = watch_signals(server);
	for (size_t i = 0; i < options->count && !error; i++)
		error = port_open(server, &options->addresses[i]);
	return error ? failed("cannot listen", error) : serve(server);
}

/* Those that are still there in the end; no operation is under way any more. */
static void free_clients(struct server *server)
{
	struct client *client;

	while ((client = LIST_FIRST(&server->clients))) {
		LIST_REMOVE(client, link);
		SSL_free(client->stream.ssl);
		free(client);
	}
}

/* --- options ---------------------------------------------------------------------------------- */

static const struct argp_option argp_options[] = {
	{"listen", 'l', "ADDR:PORT", 0, "may be given again; port 0 takes a free one", 0},
	{"cert", 'c', "FILE", 0, "certificate, PEM: mutual TLS 1.3, with --key and --ca", 0},
	{"key", 'k', "FILE", 0, "its key, PEM", 0},
	{"ca", 'a', "FILE", 0, "CA of the clients, PEM", 0},
	{0},
};

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
	struct options *options = state->input;

	switch (key) {
	case 'l':
		if (options->count == PORTS_MAX)
			argp_error(state, "more than %d ports", PORTS_MAX);
		else if (address_parse(argument, &options->addresses[options->count++]))
			argp_error(state, "expected ADDR:PORT, not %s", argument);
		return 0;
	case 'c':
		options->certificate = argument;
		return 0;
	case 'k':
		options->key = argument;
		return 0;
	case 'a':
		options->ca = argument;
		return 0;
	case ARGP_KEY_END:
		if (options->count == 0)
			argp_error(state, "--listen is needed");
		if (!options->certificate != !options->key || !options->key != !options->ca)
			argp_error(state, "--cert, --key and --ca: all or none");
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp argp = {
	.options = argp_options,
	.parser = parse_option,
	.doc = "The PLC of a measurement: answers 3E binary reads of D devices for mcload.",
};

int main(int argc, char **argv)
{
	struct rlimit limit;
	struct options options = {.count = 0};
	struct server *server = calloc(1, sizeof(*server));
	int status;

	argp_parse(&argp, argc, argv, 0, NULL, &options);
	if (!server)
		return EXIT_FAILURE;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	LIST_INIT(&server->clients);
	pattern_init(&server->pattern);
	status = run(server, &options);
	loop_deinit(&server->loop);
	free_clients(server);
	stream_tls_free(server->tls);
	free(server);
	return status;
}
