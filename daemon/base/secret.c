/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * Pages come from mmap(2) one at a time. The first piece of each is the page's own book: a bit
 * for every piece in use, and its place in the list of pages. A piece finds its page by rounding
 * down. Pages with nothing in use go back, but for one, so that a single session that comes and
 * goes does not map and unmap.
 *
 * The list is the process's, under a lock: RLIMIT_MEMLOCK counts per process, and pieces are
 * taken and given back once in a session's life.
 */
#include "base/secret.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/queue.h>

#define PAGE_BYTES 4096
#define PIECES     (PAGE_BYTES / SECRET_SIZE)
#define BOOK       1U         /* the bit of the first piece */
#define ALL        UINT32_MAX /* a full page */

struct page {
	LIST_ENTRY(page) entry;
	uint32_t used;
};

_Static_assert(PIECES == 32, "one bit for each piece");
_Static_assert(sizeof(struct page) <= SECRET_SIZE, "the book fits the first piece");

static LIST_HEAD(page_list, page) with_room = LIST_HEAD_INITIALIZER(with_room);
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool refused;

/* A kernel's page may be larger: what is mapped then is one of its pages, and we use the start. */
static struct page *new_page(void)
{
	struct page *page =
		mmap(NULL, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return NULL;
	/* Without these two it must not be used; without the lock it may (contract). */
	if (madvise(page, PAGE_BYTES, MADV_DONTDUMP) < 0 ||
	    madvise(page, PAGE_BYTES, MADV_DONTFORK) < 0) {
		munmap(page, PAGE_BYTES);
		return NULL;
	}
	if (mlock(page, PAGE_BYTES) < 0)
		atomic_store(&refused, true);
	page->used = BOOK;
	LIST_INSERT_HEAD(&with_room, page, entry);
	return page;
}

void *secret_new(void)
{
	struct page *page;
	void *piece = NULL;

	pthread_mutex_lock(&lock);
	page = LIST_FIRST(&with_room);
	if (page == NULL)
		page = new_page();
	if (page != NULL) {
		int at = __builtin_ctz(~page->used);

		page->used |= 1U << at;
		if (page->used == ALL)
			LIST_REMOVE(page, entry);
		piece = (uint8_t *)page + (size_t)at * SECRET_SIZE;
	}
	pthread_mutex_unlock(&lock);
	return piece;
}

static bool is_only_page_with_room(const struct page *page)
{
	return LIST_FIRST(&with_room) == page && LIST_NEXT(page, entry) == NULL;
}

void secret_free(void *secret)
{
	struct page *page;
	size_t at;

	if (secret == NULL)
		return;
	explicit_bzero(secret, SECRET_SIZE);
	at = (uintptr_t)secret % PAGE_BYTES;
	page = (struct page *)(void *)((uint8_t *)secret - at);
	pthread_mutex_lock(&lock);
	if (page->used == ALL)
		LIST_INSERT_HEAD(&with_room, page, entry);
	page->used &= ~(1U << at / SECRET_SIZE);
	if (page->used == BOOK && !is_only_page_with_room(page)) {
		LIST_REMOVE(page, entry);
		munmap(page, PAGE_BYTES);
	}
	pthread_mutex_unlock(&lock);
}

bool secret_locked(void)
{
	return !atomic_load(&refused);
}
