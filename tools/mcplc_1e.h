/* SPDX-License-Identifier: Apache-2.0 */
/* The 1E (A-compatible) commands. Returns the complete code; job->abnormal_code goes with 5B. */
#ifndef MCSEAL_TOOLS_MCPLC_1E_H
#define MCSEAL_TOOLS_MCPLC_1E_H

#include "mcplc_request.h"

uint16_t mcplc_1e_execute(struct mcplc_job *job);

#endif
