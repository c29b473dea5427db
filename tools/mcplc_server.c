/* SPDX-License-Identifier: Apache-2.0 */
/* The ports and the loop: one thread, one epoll, one timerfd at the earliest deadline. */
#include "mcplc_server.h"
#include "base/error.h"
#include "mcplc_connection.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

#define EVENTS_MAX  64
#define BACKLOG_MAX 1024

struct server {
	struct mcplc_pool pool;
	struct mcplc_source signals;
	struct mcplc_source timer;
	struct mcplc_port ports[MCPLC_PORTS_MAX];
	bool stopping;
};

/* --- ports ----------------------------------------------------------------------------------- */

/* The handshake is done by the kernel; zero linger makes close(2) an RST, not a FIN. */
static void refuse(struct server *server, struct mcplc_port *port, int fd, const char *peer)
{
	const struct linger abort = {.l_onoff = 1, .l_linger = 0};
	struct mcplc_log_names names = {peer, port->name};

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort, sizeof(abort));
	close(fd);
	mcplc_log_event(server->pool.log, "refused", &names, "reason=connections");
}

static void port_readable(struct server *server, struct mcplc_port *port)
{
	struct sockaddr_storage from;
	socklen_t size = sizeof(from);
	struct address address;
	char peer[ADDRESS_TEXT_SIZE];
	size_t limit = server->pool.options->connections;
	int fd;

	while ((fd = accept4(port->source.fd, (struct sockaddr *)&from, &size,
			     SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		address_from_sockaddr(&from, &address);
		address_print(&address, peer);
		if (limit && port->connections >= limit)
			refuse(server, port, fd, peer);
		else if (mcplc_connection_new(&server->pool, port, fd, peer) < 0)
			close(fd);
		size = sizeof(from);
	}
}

static int port_open(struct server *server, struct mcplc_port *port, const struct address *wanted)
{
	cleanup_fd int fd =
		socket(wanted->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = port};
	struct sockaddr_storage bound;
	socklen_t size = sizeof(bound);
	struct address address;
	int one = 1;

	address_print(wanted, port->name);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (wanted->any.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	if (bind(fd, &wanted->any, address_size(wanted)) < 0 || listen(fd, BACKLOG_MAX) < 0 ||
	    getsockname(fd, (struct sockaddr *)&bound, &size) < 0 ||
	    epoll_ctl(server->pool.epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	address_from_sockaddr(&bound, &address);
	address_print(&address, port->name);
	port->source = (struct mcplc_source){MCPLC_PORT, steal_fd(&fd)};
	return 0;
}

/* --- the loop -------------------------------------------------------------------------------- */

static int watch_source(struct server *server, struct mcplc_source *source, int kind, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};

	*source = (struct mcplc_source){kind, fd};
	if (fd < 0 || epoll_ctl(server->pool.epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		return -errno;
	return 0;
}

static int open_sources(struct server *server)
{
	sigset_t mask;
	int error;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	server->pool.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (server->pool.epoll < 0 || sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
		return -errno;
	error = watch_source(server, &server->signals, MCPLC_SIGNAL,
			     signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC));
	if (error)
		return error;
	return watch_source(server, &server->timer, MCPLC_TIMER,
			    timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
}

static int open_ports(struct server *server)
{
	for (size_t i = 0; i < server->pool.options->port_count; i++) {
		struct mcplc_port *port = &server->ports[i];
		int error = port_open(server, port, &server->pool.options->ports[i]);

		if (error) {
			fprintf(stderr, "mcplc: cannot listen on %s: %s\n", port->name,
				strerror(-error));
			return error;
		}
	}
	for (size_t i = 0; i < server->pool.options->port_count; i++)
		printf("mcplc: ready %s\n", server->ports[i].name);
	fflush(stdout);
	return 0;
}

static void timer_expired(struct server *server)
{
	uint64_t expirations;

	if (read(server->timer.fd, &expirations, sizeof(expirations)) > 0)
		mcplc_connection_expired(&server->pool);
}

static void arm_timer(struct server *server)
{
	struct itimerspec when = {.it_value = {0, 0}};
	clock_us due = mcplc_connection_due(&server->pool);

	if (due != CLOCK_NEVER) {
		when.it_value.tv_sec = due / CLOCK_SEC;
		when.it_value.tv_nsec = due % CLOCK_SEC * 1000;
	}
	timerfd_settime(server->timer.fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void dispatch(struct server *server, const struct epoll_event *event)
{
	struct mcplc_source *source = event->data.ptr;

	switch (source->kind) {
	case MCPLC_PORT:
		port_readable(server, container_of(source, struct mcplc_port, source));
		break;
	case MCPLC_CONNECTION:
		mcplc_connection_event(&server->pool,
				       container_of(source, struct mcplc_connection, source),
				       event->events);
		break;
	case MCPLC_SIGNAL:
		server->stopping = true;
		break;
	case MCPLC_TIMER:
		timer_expired(server);
		break;
	}
}

static int serve(struct server *server)
{
	struct epoll_event events[EVENTS_MAX];

	while (!server->stopping) {
		int count;

		arm_timer(server);
		count = epoll_wait(server->pool.epoll, events, EVENTS_MAX, -1);
		if (count < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < count; i++)
			dispatch(server, &events[i]);
		mcplc_connection_free_closed(&server->pool);
	}
	return 0;
}

static void close_sources(struct server *server)
{
	const int fds[] = {server->pool.epoll, server->signals.fd, server->timer.fd};

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	for (size_t i = 0; i < MCPLC_PORTS_MAX; i++) {
		if (server->ports[i].source.fd >= 0)
			close(server->ports[i].source.fd);
	}
}

/* A plant's worth of connections needs more than the customary 1,024 descriptors. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

int mcplc_server_run(const struct mcplc_server_options *options, struct mcplc_cpu *cpu,
		     const struct mcplc_log *log)
{
	struct server server = {
		.pool = {.options = options, .log = log, .cpu = cpu, .epoll = -1},
		.signals.fd = -1,
		.timer.fd = -1,
	};
	int error;

	TAILQ_INIT(&server.pool.connections);
	TAILQ_INIT(&server.pool.closed);
	for (size_t i = 0; i < MCPLC_PORTS_MAX; i++)
		server.ports[i].source.fd = -1;
	raise_descriptor_limit();
	error = open_sources(&server);
	if (error)
		fprintf(stderr, "mcplc: cannot start: %s\n", strerror(-error));
	else
		error = open_ports(&server);
	if (!error)
		error = serve(&server);
	mcplc_connection_close_all(&server.pool, "stopped");
	mcplc_connection_free_closed(&server.pool);
	close_sources(&server);
	return error;
}
