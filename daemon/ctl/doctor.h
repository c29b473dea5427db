/* SPDX-License-Identifier: Apache-2.0 */
/* `mcseal doctor`: shows what daemon/doctor finds, for people or as lines of JSON. */
#ifndef MCSEAL_CTL_DOCTOR_H
#define MCSEAL_CTL_DOCTOR_H

#include "ctl/options.h"

/* An exit status: EXIT_FAILED when any step FAILED. */
int doctor_command(const struct options *options);

#endif
