/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * A lock is held around each write. The kernel lets one writer at a time append to a file anyway;
 * under the lock the file cannot be exchanged meanwhile, and its end is ours.
 *
 * A full disk may take the beginning of a line. It is cut off again: a file of whole lines is worth
 * more than half a line. Where that is not possible (chattr +a) the next line is written behind a
 * line's end, as it is behind what a crash has left: readers lose the torn line, not the next one.
 *
 * After a loss the first line that can be written again is preceded by one that tells how many are
 * missing, in the same call. Nothing is kept back to be written later: that would have to end, too.
 */
#include "proxy/audit_file.h"

#include "base/error.h"
#include "base/file_access.h"
#include "base/line.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#define TELL_EVERY (60 * CLOCK_SEC)

struct audit_file {
	pthread_mutex_t lock;
	atomic_bool set;
	char *path;                      /* NULL: none */
	int fd;                          /* -1: could not be opened */
	bool stale;                      /* the path is to be opened again */
	bool torn;                       /* the last line has no end */
	uint64_t lost;                   /* lines, since the last that could be written */
	clock_us tell_failure, tell_end; /* not before then */
};

int audit_file_new(struct audit_file **out)
{
	struct audit_file *file = calloc(1, sizeof(*file));

	if (file == NULL)
		return -ENOMEM;
	pthread_mutex_init(&file->lock, NULL);
	file->fd = -1;
	*out = file;
	return 0;
}

static void close_it(struct audit_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
}

void audit_file_free(struct audit_file *file)
{
	if (file == NULL)
		return;
	close_it(file);
	pthread_mutex_destroy(&file->lock);
	free(file->path);
	free(file);
}

/* --- all below holds the lock ---------------------------------------------------------------- */

static void log_failure(struct audit_file *file, int error)
{
	clock_us now = clock_now();
	struct log_entry entry;

	if (now < file->tell_failure)
		return;
	file->tell_failure = now + TELL_EVERY;
	log_begin(&entry, LOG_LEVEL_ERROR, "audit-failed");
	log_field(&entry, "file", "%s", file->path);
	log_field(&entry, "why", "%s", file_denial(file->path, true, error));
	log_field(&entry, "lost", "%llu", (unsigned long long)file->lost);
	log_end(&entry);
}

static bool ends_torn(int fd, off_t size)
{
	char last;

	return size > 0 && pread(fd, &last, 1, size - 1) == 1 && last != '\n';
}

/* What is open stays so until there is something better. */
static int open_it(struct audit_file *file)
{
	/* Not blocking: there may be a pipe by this name. */
	cleanup_fd int fd = open(
		file->path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
	struct stat status;

	if (fd < 0 || fstat(fd, &status) < 0)
		return -errno;
	if (!S_ISREG(status.st_mode))
		return -EINVAL;
	close_it(file);
	file->fd = steal_fd(&fd);
	file->stale = false;
	file->torn = ends_torn(file->fd, status.st_size);
	return 0;
}

/* A file without a name is nobody's record: whoever deleted it gets a new one. */
static bool has_name(const struct audit_file *file)
{
	struct stat status;

	return file->fd >= 0 && fstat(file->fd, &status) == 0 && status.st_nlink > 0;
}

static int make_ready(struct audit_file *file)
{
	bool usable = has_name(file);
	int error;

	if (usable && !file->stale)
		return 0;
	error = open_it(file);
	return usable ? 0 : error;
}

/* `count` bytes of a line have come to the file's end, and no more. */
static void take_back(struct audit_file *file, off_t count)
{
	off_t end = lseek(file->fd, 0, SEEK_CUR);
	struct stat status;

	/* Behind what another process has appended they cannot be found. */
	if (end < count || fstat(file->fd, &status) < 0 || status.st_size != end ||
	    ftruncate(file->fd, end - count) < 0)
		file->torn = true;
}

static int write_parts(struct audit_file *file, const struct iovec *parts, int count)
{
	ssize_t written, size = 0;

	for (int i = 0; i < count; i++)
		size += (ssize_t)parts[i].iov_len;
	do
		written = writev(file->fd, parts, count);
	while (written < 0 && errno == EINTR);
	if (written < 0)
		return -errno;
	if (written == size)
		return 0;
	take_back(file, written);
	return -ENOSPC;
}

static size_t put_loss(uint64_t lost, char *json)
{
	struct line line;

	line_begin(&line, "audit-resumed", true);
	line_number(&line, "lost", lost);
	return line_json(&line, json);
}

static int put(struct audit_file *file, const char *line, size_t size)
{
	static char end[] = "\n";
	char loss[LINE_JSON_SIZE];
	struct iovec parts[3];
	int count = 0, error = make_ready(file);

	if (error < 0)
		return error;
	if (file->torn)
		parts[count++] = (struct iovec){end, 1};
	if (file->lost > 0)
		parts[count++] = (struct iovec){loss, put_loss(file->lost, loss)};
	parts[count++] = (struct iovec){(char *)line, size};
	error = write_parts(file, parts, count);
	if (error == 0)
		file->torn = false;
	return error;
}

static void log_end_of_loss(struct audit_file *file)
{
	clock_us now = clock_now();
	struct log_entry entry;

	if (now < file->tell_end)
		return;
	file->tell_end = now + TELL_EVERY;
	log_begin(&entry, LOG_LEVEL_WARNING, "audit-resumed");
	log_field(&entry, "file", "%s", file->path);
	log_field(&entry, "lost", "%llu", (unsigned long long)file->lost);
	log_end(&entry);
}

/* --- the interface --------------------------------------------------------------------------- */

int audit_file_append(struct audit_file *file, const char *line, size_t size)
{
	int error = 0;

	pthread_mutex_lock(&file->lock);
	if (file->path != NULL) {
		error = put(file, line, size);
		if (error < 0) {
			file->lost++;
			log_failure(file, error);
		} else if (file->lost > 0) {
			log_end_of_loss(file);
			file->lost = 0;
		}
	}
	pthread_mutex_unlock(&file->lock);
	return error;
}

int audit_file_configure(struct audit_file *file, const char *path)
{
	char *copy = path != NULL ? strdup(path) : NULL;
	int error;

	if (path != NULL && copy == NULL)
		return -ENOMEM;
	pthread_mutex_lock(&file->lock);
	if (path == NULL || file->path == NULL || strcmp(path, file->path) != 0)
		close_it(file);
	free(file->path);
	file->path = copy;
	atomic_store(&file->set, copy != NULL);
	error = copy != NULL ? make_ready(file) : 0;
	if (error < 0)
		log_failure(file, error);
	pthread_mutex_unlock(&file->lock);
	return 0;
}

void audit_file_reopen(struct audit_file *file)
{
	int error;

	pthread_mutex_lock(&file->lock);
	if (file->path != NULL) {
		file->stale = true;
		error = open_it(file);
		if (error < 0)
			log_failure(file, error);
		else
			log_simple(LOG_LEVEL_INFO, "audit-reopened", "file", "%s", file->path);
	}
	pthread_mutex_unlock(&file->lock);
}

bool audit_file_is_set(const struct audit_file *file)
{
	return file != NULL && atomic_load_explicit(&file->set, memory_order_relaxed);
}
