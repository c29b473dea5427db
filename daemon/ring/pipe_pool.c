/* SPDX-License-Identifier: Apache-2.0 */
#include "ring/pipe_pool.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

SLIST_HEAD(pipe_list, pipe);

struct pipe_pool {
	struct pipe_list free;
	unsigned int size;
	struct pipe *pipes;
	int descriptor;
	struct pipe_records *records;
	size_t records_size;
};

static int share_records(struct pipe_pool *pool, unsigned int count)
{
	void *memory;

	pool->records_size = sizeof(*pool->records) + count * sizeof(pool->records->records[0]);
	pool->descriptor = memfd_create("mcseal-pipes", MFD_CLOEXEC);
	if (pool->descriptor < 0 || ftruncate(pool->descriptor, (off_t)pool->records_size) < 0)
		return -ENOMEM;
	memory = mmap(NULL, pool->records_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		      pool->descriptor, 0);
	if (memory == MAP_FAILED)
		return -ENOMEM;
	pool->records = memory;
	pool->records->magic = PIPE_RECORDS_MAGIC;
	pool->records->version = PIPE_RECORDS_VERSION;
	pool->records->record_size = sizeof(struct pipe_record);
	return 0;
}

/*
 * No more slots than are of use: all of them count, used or not, against what the user may have
 * (fs.pipe-user-pages-soft, linux/fs/pipe.c), and every worker of every daemon has its pool.
 */
int pipe_set_slots(int fd)
{
	const int wanted = PIPE_SLOTS * (int)sysconf(_SC_PAGESIZE);
	int size = fcntl(fd, F_GETPIPE_SZ);

	if (size >= 0 && size != wanted)
		size = fcntl(fd, F_SETPIPE_SZ, wanted);
	if (size < 0)
		return -errno;
	return size < wanted ? -ENOBUFS : 0;
}

/* False: a limit of descriptors or of pipe memory is met; more attempts would not help. */
static bool add_pipe(struct pipe_pool *pool)
{
	struct pipe *pipe = &pool->pipes[pool->size];

	if (pipe2(pipe->ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return false;
	if (pipe_set_slots(pipe->ends[0]) < 0) {
		close(pipe->ends[0]);
		close(pipe->ends[1]);
		return false;
	}
	pipe->record = &pool->records->records[pool->size];
	pipe->record->read_end = pipe->ends[0];
	pipe->record->write_end = pipe->ends[1];
	SLIST_INSERT_HEAD(&pool->free, pipe, entry);
	pool->size++;
	return true;
}

int pipe_pool_new(unsigned int count, struct pipe_pool **out)
{
	struct pipe_pool *pool = calloc(1, sizeof(*pool));
	int error = -ENOMEM;

	if (pool == NULL)
		return -ENOMEM;
	SLIST_INIT(&pool->free);
	pool->descriptor = -1;
	pool->pipes = calloc(count + 1, sizeof(*pool->pipes));
	if (pool->pipes != NULL)
		error = share_records(pool, count);
	if (error < 0) {
		pipe_pool_free(pool);
		return error;
	}
	while (pool->size < count && add_pipe(pool))
		;
	pool->records->count = pool->size;
	*out = pool;
	return 0;
}

void pipe_pool_free(struct pipe_pool *pool)
{
	if (pool == NULL)
		return;
	for (unsigned int i = 0; i < pool->size; i++) {
		close(pool->pipes[i].ends[0]);
		close(pool->pipes[i].ends[1]);
	}
	if (pool->records != NULL)
		munmap(pool->records, pool->records_size);
	if (pool->descriptor >= 0)
		close(pool->descriptor);
	free(pool->pipes);
	free(pool);
}

unsigned int pipe_pool_size(const struct pipe_pool *pool)
{
	return pool->size;
}

struct pipe *pipe_pool_take(struct pipe_pool *pool, uint64_t session, uint32_t from)
{
	struct pipe *pipe = SLIST_FIRST(&pool->free);

	if (pipe == NULL)
		return NULL;
	SLIST_REMOVE_HEAD(&pool->free, entry);
	pipe->record->session = session;
	pipe->record->from = from;
	return pipe;
}

void pipe_pool_give(struct pipe_pool *pool, struct pipe *pipe, bool empty)
{
	char bytes[4096];

	while (!empty && read(pipe->ends[0], bytes, sizeof(bytes)) > 0)
		;
	*pipe->record = (struct pipe_record){.read_end = pipe->ends[0], .write_end = pipe->ends[1]};
	SLIST_INSERT_HEAD(&pool->free, pipe, entry);
}

int pipe_pool_descriptor(const struct pipe_pool *pool)
{
	return pool->descriptor;
}
