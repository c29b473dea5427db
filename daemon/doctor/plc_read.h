/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One harmless MC request and its answer: the word SD203 (state of the CPU) in 3E frames, D0 in 1E
 * frames, whose PLCs have no SD. Reads of the own station are what every policy starts with.
 */
#ifndef MCSEAL_DOCTOR_PLC_READ_H
#define MCSEAL_DOCTOR_PLC_READ_H

#include "doctor/connection.h"
#include "mc/mc_frame.h"

struct plc_read {
	enum mc_family family;
	enum mc_code code;
	/* Filled: */
	uint16_t end_code;
	uint16_t value; /* with end code 0 */
};

/*
 * Asks on a connection that nothing was asked on yet. 0; -ETIMEDOUT: no answer, perhaps because the
 * PLC's port is set to the other code; -ECONNRESET: closed; -EPROTO: no MC answer. With a reason.
 */
int plc_read_ask(struct plc_read *read, struct connection *connection, clock_us deadline);

#endif
