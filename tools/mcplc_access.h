/* SPDX-License-Identifier: Apache-2.0 */
/* Device access of 3E and 4E: batch, random, block, monitor. Each returns an end code. */
#ifndef MCSEAL_TOOLS_MCPLC_ACCESS_H
#define MCSEAL_TOOLS_MCPLC_ACCESS_H

#include "mcplc_request.h"

uint16_t mcplc_access_batch_read(struct mcplc_job *job);       /* 0401 */
uint16_t mcplc_access_batch_write(struct mcplc_job *job);      /* 1401 */
uint16_t mcplc_access_random_read(struct mcplc_job *job);      /* 0403 */
uint16_t mcplc_access_random_write(struct mcplc_job *job);     /* 1402 */
uint16_t mcplc_access_block_read(struct mcplc_job *job);       /* 0406 */
uint16_t mcplc_access_block_write(struct mcplc_job *job);      /* 1406 */
uint16_t mcplc_access_monitor_register(struct mcplc_job *job); /* 0801 */
uint16_t mcplc_access_monitor(struct mcplc_job *job);          /* 0802 */

/* `points` bits from `number` on, two in a byte, in ASCII code one in a character. */
void mcplc_access_put_bits(struct mcplc_job *job, const struct mc_device *device, uint32_t number,
			   uint32_t points);
/* The same from the request to the devices; false: a value is neither 0 nor 1, nothing is set. */
bool mcplc_access_set_bits(struct mcplc_job *job, const struct mc_device *device, uint32_t number,
			   uint32_t points, const uint8_t *data);

#endif
