/* SPDX-License-Identifier: Apache-2.0 */
#include "control/control.h"

#include "base/error.h"
#include "base/log.h"
#include "control/control_client.h"
#include "control/control_peer.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define MODE          0660
#define QUEUE         16
/* However fast they come and go: so many in each period have the main thread's attention. */
#define ACCEPT_BURST  100
#define ACCEPT_PERIOD CLOCK_SEC

LIST_HEAD(client_list, control_client);

struct control {
	struct control_service service; /* the clients' way back to us */
	sd_event *loop;
	sd_event_source *listener;
	int fd;
	char *path;
	struct stat file; /* our socket's, as it was made */
	struct client_list clients;
	unsigned int client_count;
	int accept_error; /* the last one, so that it is told once */
};

/* --- clients -------------------------------------------------------------------------------- */

static void gone(struct control_client *client)
{
	struct control *control = container_of(client->service, struct control, service);

	LIST_REMOVE(client, entry);
	control->client_count--;
	(void)sd_event_source_set_enabled(control->listener, SD_EVENT_ON);
}

static void refuse(int fd, const struct ucred *peer)
{
	cleanup_free char *line = control_client_error(
		"not allowed: only root, mcseald's user and the group of the socket may ask");
	struct log_entry entry;

	log_begin(&entry, LOG_LEVEL_WARNING, "control-refused");
	log_field(&entry, "uid", "%u", peer->uid);
	log_field(&entry, "gid", "%u", peer->gid);
	log_field(&entry, "pid", "%d", (int)peer->pid);
	log_end(&entry);
	if (line != NULL)
		(void)send(fd, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* Who looks after the machine may give the socket to another group at any time. */
static gid_t group_of(const struct control *control)
{
	struct stat file;

	return lstat(control->path, &file) == 0 ? file.st_gid : control->file.st_gid;
}

/* Takes over `fd` with 0. */
static int welcome(struct control *control, int fd, const struct ucred *peer)
{
	struct control_client *client;
	int error = control_client_new(control->loop, fd, peer, &control->service, gone, &client);

	if (error < 0)
		return error;
	LIST_INSERT_HEAD(&control->clients, client, entry);
	control->client_count++;
	if (control->client_count == CONTROL_CLIENTS_MAX)
		(void)sd_event_source_set_enabled(control->listener, SD_EVENT_OFF);
	return 0;
}

static void say_not_accepted(struct control *control, int error)
{
	if (error != control->accept_error)
		log_simple(LOG_LEVEL_WARNING, "control-not-accepted", "error", "%s",
			   strerrordesc_np(-error));
	control->accept_error = error;
}

static int knocked(sd_event_source *source, int listener, uint32_t events, void *context)
{
	struct control *control = context;
	cleanup_fd int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	struct ucred peer;
	int error = fd < 0 ? -errno : 0;

	(void)source;
	(void)events;
	if (error == -EAGAIN || error == -EINTR || error == -ECONNABORTED)
		return 0;
	if (error == 0 && !control_peer_may(fd, group_of(control), &peer)) {
		refuse(fd, &peer);
		return 0;
	}
	if (error == 0)
		error = welcome(control, fd, &peer);
	if (error < 0) {
		say_not_accepted(control, error);
		return 0;
	}
	control->accept_error = 0;
	(void)steal_fd(&fd);
	return 0;
}

/* --- the socket ----------------------------------------------------------------------------- */

/* Removes what a killed daemon has left. 0: `address` is free. */
static int clear(const struct sockaddr_un *address)
{
	cleanup_fd int fd = -1;
	struct stat file;

	if (lstat(address->sun_path, &file) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(file.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* Nobody behind it: ECONNREFUSED. A full queue (EAGAIN) is somebody's. */
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 || errno == EAGAIN)
		return -EADDRINUSE;
	if (errno != ECONNREFUSED)
		return -errno;
	return unlink(address->sun_path) < 0 ? -errno : 0;
}

static int open_socket(struct control *control)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int error;

	if (strlen(control->path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, control->path, strlen(control->path));
	error = clear(&address);
	if (error < 0)
		return error;
	control->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (control->fd < 0 ||
	    bind(control->fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    lstat(control->path, &control->file) < 0)
		return -errno;
	/* Nobody can connect before listen(): the mode of the moment between does not matter. */
	if (chmod(control->path, MODE) < 0 || listen(control->fd, QUEUE) < 0)
		return -errno;
	return 0;
}

static int start(struct control *control)
{
	int error = open_socket(control);

	if (error == 0)
		error = sd_event_add_io(control->loop, &control->listener, control->fd, EPOLLIN,
					knocked, control);
	if (error >= 0)
		error = sd_event_source_set_ratelimit(control->listener, ACCEPT_PERIOD,
						      ACCEPT_BURST);
	return error < 0 ? error : 0;
}

int control_new(sd_event *loop, const char *path, const struct control_commands *commands,
		struct control_context *context, struct control **out)
{
	struct control *control = calloc(1, sizeof(*control));
	struct log_entry entry;
	int error = -ENOMEM;

	if (control != NULL) {
		control->service = (struct control_service){commands, context};
		control->loop = loop;
		control->fd = -1;
		LIST_INIT(&control->clients);
		control->path = strdup(path);
		error = control->path != NULL ? start(control) : -ENOMEM;
	}
	if (error == 0) {
		*out = control;
		return 0;
	}
	control_free(control);
	log_begin(&entry, LOG_LEVEL_WARNING, "control-not-open");
	log_field(&entry, "path", "%s", path);
	log_field(&entry, "error", "%s", strerrordesc_np(-error));
	log_end(&entry);
	return error;
}

void control_free(struct control *control)
{
	struct control_client *client;
	struct stat file;

	if (control == NULL)
		return;
	while ((client = LIST_FIRST(&control->clients)) != NULL)
		control_client_close(client);
	sd_event_source_disable_unref(control->listener);
	/* Not the file of another daemon that took ours for a dead one's. */
	if (control->file.st_ino != 0 && lstat(control->path, &file) == 0 &&
	    file.st_ino == control->file.st_ino && file.st_dev == control->file.st_dev)
		(void)unlink(control->path);
	if (control->fd >= 0)
		close(control->fd);
	free(control->path);
	free(control);
}
