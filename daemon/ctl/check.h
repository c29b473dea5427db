/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `mcseal check [CONFIG]`: by the mcseald that is installed beside this program. What it loads at a
 * start - text, certificates, keys, passwords - it judges with the very code and libraries that
 * will load it; a second judge might be of another mind.
 */
#ifndef MCSEAL_CTL_CHECK_H
#define MCSEAL_CTL_CHECK_H

#include "ctl/options.h"

/* Becomes `mcseald --check`; comes back, with an exit status, only when that could not be started.
 */
int check_run(const struct options *options);

#endif
