/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated CPU: devices, RUN/STOP/PAUSE, remote password, monitor registrations. One for
 * all connections; what belongs to a connection is in struct mcplc_link.
 */
#ifndef MCSEAL_TOOLS_MCPLC_CPU_H
#define MCSEAL_TOOLS_MCPLC_CPU_H

#include "mc/mc_frame.h"
#include "mcplc_memory.h"

#define MCPLC_MONITOR_MAX  192 /* words and double words of one 0801 */
#define MCPLC_PASSWORD_MAX 32
#define MCPLC_MODEL_SIZE   16 /* blank-padded in the answer */
#define MCPLC_STATIONS_MAX 8

enum mcplc_state { /* the values of SD203, bits 0-3 */
		   MCPLC_RUN = 0,
		   MCPLC_STOP = 2,
		   MCPLC_PAUSE = 3,
};

struct mcplc_point {
	const struct mc_device *device;
	uint32_t number;
};

/* A monitor registration: PLC-wide, the last one wins whoever sent it. */
struct mcplc_monitor {
	size_t words; /* the first ones of `points` */
	size_t dwords;
	struct mcplc_point points[MCPLC_MONITOR_MAX];
};

struct mcplc_cpu {
	struct mcplc_memory *memory; /* owned by whoever made it */
	enum mcplc_state state;
	char model[MCPLC_MODEL_SIZE + 1];
	uint16_t model_code;
	uint8_t model_code_1e;
	char password[MCPLC_PASSWORD_MAX + 1];        /* "" = none */
	struct mc_route stations[MCPLC_STATIONS_MAX]; /* answered beside the own one */
	size_t station_count;
	struct mcplc_monitor monitor;       /* 0801 */
	struct mcplc_monitor monitor_1e[2]; /* 06 (bits in `words`), 07 */
};

struct mcplc_link {
	bool unlocked; /* by 1630 on this connection; ends with it */
};

/* State, with SD203 showing it as on a real CPU. */
void mcplc_cpu_enter(struct mcplc_cpu *cpu, enum mcplc_state state);
/* Remote RESET: RUN, devices and registrations cleared as far as a reset does. */
void mcplc_cpu_reset(struct mcplc_cpu *cpu);
/* Remote password; `size` characters as in the request. True when it is right or none is set. */
bool mcplc_cpu_password_right(const struct mcplc_cpu *cpu, const uint8_t *text, size_t size);
bool mcplc_cpu_locked(const struct mcplc_cpu *cpu, const struct mcplc_link *link);
bool mcplc_cpu_station_known(const struct mcplc_cpu *cpu, const struct mc_route *route);

#endif
