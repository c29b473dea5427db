/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated PLC's devices: they remember what was written.
 *
 * Access is by bit, word or double word. A word of a bit device is 16 points from any number,
 * lowest number in the lowest bit. Callers check ranges first with mcplc_memory_points();
 * points beyond the end read as 0 and are not written.
 */
#ifndef MCSEAL_TOOLS_MCPLC_MEMORY_H
#define MCSEAL_TOOLS_MCPLC_MEMORY_H

#include "mc/mc_device.h"

struct mcplc_memory;

/* All devices 0, default sizes. NULL: out of memory. Free with mcplc_memory_free(). */
struct mcplc_memory *mcplc_memory_new(void);
void mcplc_memory_free(struct mcplc_memory *memory);

/* Configured points of a device; 0 = this PLC does not have it. */
uint32_t mcplc_memory_points(const struct mcplc_memory *memory, const struct mc_device *device);

bool mcplc_memory_bit(const struct mcplc_memory *memory, const struct mc_device *device,
		      uint32_t number);
void mcplc_memory_set_bit(struct mcplc_memory *memory, const struct mc_device *device,
			  uint32_t number, bool on);
uint16_t mcplc_memory_word(const struct mcplc_memory *memory, const struct mc_device *device,
			   uint32_t number);
void mcplc_memory_set_word(struct mcplc_memory *memory, const struct mc_device *device,
			   uint32_t number, uint16_t value);
/* Two words (bit devices: 32 points), the lower number holding the lower half. */
uint32_t mcplc_memory_dword(const struct mcplc_memory *memory, const struct mc_device *device,
			    uint32_t number);
void mcplc_memory_set_dword(struct mcplc_memory *memory, const struct mc_device *device,
			    uint32_t number, uint32_t value);

/* Buffer memory of the own Ethernet module (0613/1613): MCPLC_BUFFER_WORDS words. */
#define MCPLC_BUFFER_WORDS 0x8000
uint16_t *mcplc_memory_buffer(struct mcplc_memory *memory);

/*
 * All devices to 0 but file registers (R, ZR, RD) and special devices (SM, SD); L only when
 * `latched` is set, too.
 */
void mcplc_memory_clear(struct mcplc_memory *memory, bool latched);

/*
 * "D=2000,X=256": sizes in points; what was set before stays where it still fits. "D100=1,2,0xff"
 * values from D100 on; negative ones are two's complement. Both write to stderr what was wrong
 * and return -EINVAL; the first may also return -ENOMEM.
 */
int mcplc_memory_limit_text(struct mcplc_memory *memory, const char *text);
int mcplc_memory_set_text(struct mcplc_memory *memory, const char *text);

#endif
