/* SPDX-License-Identifier: Apache-2.0 */
#include "plant/account.h"

/*
 * The generic cell rate algorithm (ITU-T I.371, virtual scheduling): one number instead of a
 * bucket and the time of its last filling, so that it can be exchanged as a whole.
 */
clock_us account_spend(struct account *account, unsigned int rate, unsigned int burst, clock_us now)
{
	clock_us apart = CLOCK_SEC / (clock_us)rate, due, early;

	due = atomic_load_explicit(&account->next_free, memory_order_relaxed);
	do {
		early = due - (clock_us)(burst - 1) * apart;
		if (early > now)
			return early;
	} while (!atomic_compare_exchange_weak_explicit(
		&account->next_free, &due, (due > now ? due : now) + apart, memory_order_relaxed,
		memory_order_relaxed));
	return 0;
}

bool account_open(struct account *account, unsigned int limit)
{
	unsigned int open = atomic_fetch_add(&account->sessions_open, 1);

	if (limit > 0 && open >= limit) {
		atomic_fetch_sub(&account->sessions_open, 1);
		return false;
	}
	atomic_fetch_add_explicit(&account->sessions, 1, memory_order_relaxed);
	return true;
}

void account_close(struct account *account)
{
	atomic_fetch_sub(&account->sessions_open, 1);
}

static void count_end_code(struct account *account, uint16_t end_code)
{
	unsigned int key = end_code + 1U;

	for (size_t i = 0; i < ACCOUNT_END_CODES; i++) {
		struct account_end_code *row = &account->end_codes[i];
		unsigned int there = 0;

		if (!atomic_compare_exchange_strong(&row->code, &there, key) && there != key)
			continue;
		atomic_fetch_add_explicit(&row->count, 1, memory_order_relaxed);
		return;
	}
	atomic_fetch_add_explicit(&account->other_end_codes, 1, memory_order_relaxed);
}

void account_answered(struct account *account, uint16_t end_code, clock_us waited, clock_us plc)
{
	if (end_code == 0)
		atomic_fetch_add_explicit(&account->answers, 1, memory_order_relaxed);
	else
		count_end_code(account, end_code);
	histogram_add(&account->waiting, waited);
	histogram_add(&account->plc, plc);
	histogram_add(&account->total, waited + plc);
}

void account_moved(struct account *account, uint64_t bytes_to_plc, uint64_t bytes_from_plc)
{
	atomic_fetch_add_explicit(&account->bytes_to_plc, bytes_to_plc, memory_order_relaxed);
	atomic_fetch_add_explicit(&account->bytes_from_plc, bytes_from_plc, memory_order_relaxed);
}
