/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection slots of a PLC's port. Real PLCs accept few connections per port, often one,
 * and refuse a new one for half a second after a close (iQ-R Ethernet manual: wait 500 ms).
 * Counted over all workers; taken when a session dials, never on the data path.
 */
#ifndef MCSEAL_PLANT_PLC_SLOTS_H
#define MCSEAL_PLANT_PLC_SLOTS_H

#include "base/clock.h"

enum plc_slots_outcome {
	PLC_SLOTS_WAIT = 1, /* ask again at *retry */
};

struct plc_slots;

/* `count` of them, all free. 0 or -ENOMEM. */
int plc_slots_new(unsigned int count, struct plc_slots **slots);
void plc_slots_free(struct plc_slots *slots);
/* From now on there are `count`; what is taken stays taken. Any thread. 0 or -ENOMEM. */
int plc_slots_resize(struct plc_slots *slots, unsigned int count);
/* How many are taken, and how many there are. Any thread. */
void plc_slots_count(struct plc_slots *slots, unsigned int *taken, unsigned int *count);

/*
 * Takes one. 0, or PLC_SLOTS_WAIT with the time at which asking again makes sense: when a closed
 * connection has rested, or soon, when all are in use. Any thread.
 */
int plc_slots_take(struct plc_slots *slots, clock_us now, clock_us *retry);
/* Gives one back; it can be taken again at `rested`. Any thread. */
void plc_slots_give(struct plc_slots *slots, clock_us rested);

#endif
