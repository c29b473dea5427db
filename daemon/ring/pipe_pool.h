/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pipes of one worker through which splice moves bytes. Made once; a session holds one only
 * while bytes of a frame are in it.
 *
 * Which pipe serves which session and direction stands in memory shared by a descriptor
 * (pipe_record): together with the sockets it is what another process would need to go on, should
 * this one end with bytes in its pipes. The record is written before each splice.
 */
#ifndef MCSEAL_RING_PIPE_POOL_H
#define MCSEAL_RING_PIPE_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

/* A frame of 8,200 bytes out of a peer's segments takes six; tiny segments are copied. */
#define PIPE_SLOTS 8

#define PIPE_RECORDS_MAGIC   0x6d637069 /* "mcpi" */
#define PIPE_RECORDS_VERSION 1

/* One pipe, as another process reads it. Host byte order. */
struct pipe_record {
	uint64_t session; /* 0: free */
	uint32_t from;    /* the leg that the bytes came from: 0 accepted, 1 dialled */
	uint32_t frame;   /* bytes of the frame that is on its way */
	uint32_t missing; /* ... not yet put into the pipe */
	uint32_t left;    /* ... that were in the pipe before the splice now being made */
	int32_t read_end, write_end;
};

struct pipe_records {
	uint32_t magic, version;
	uint32_t count, record_size;
	struct pipe_record records[];
};

struct pipe {
	int ends[2];                /* read, write; non-blocking */
	struct pipe_record *record; /* written by the holder */
	SLIST_ENTRY(pipe) entry;
};

struct pipe_pool;

/*
 * Gives an empty pipe PIPE_SLOTS slots (F_SETPIPE_SZ, pipe(7)); `fd` is either end. 0, or -EPERM
 * where the user has too many pages of pipes already (fs.pipe-user-pages-soft), -ENOBUFS, -ENOMEM.
 */
int pipe_set_slots(int fd);

/*
 * `count` pipes of PIPE_SLOTS slots, fewer where a limit is met (pipe_pool_size() tells): the
 * smaller ones that the kernel hands out to a user with too many are not kept. 0, even with none
 * at all, or -ENOMEM.
 */
int pipe_pool_new(unsigned int count, struct pipe_pool **pool);
/* All pipes must have been given back. Accepts NULL. */
void pipe_pool_free(struct pipe_pool *pool);
unsigned int pipe_pool_size(const struct pipe_pool *pool);
/* NULL: all are in use. Session and direction are entered into its record. */
struct pipe *pipe_pool_take(struct pipe_pool *pool, uint64_t session, uint32_t from);
/*
 * `empty`: the holder knows that nothing is in it. Else what is there is read and thrown away:
 * never may one session's bytes go on into another's.
 */
void pipe_pool_give(struct pipe_pool *pool, struct pipe *pipe, bool empty);
/* The shared memory: a struct pipe_records. Stays the pool's. */
int pipe_pool_descriptor(const struct pipe_pool *pool);

#endif
