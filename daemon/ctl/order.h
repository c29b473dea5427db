/* SPDX-License-Identifier: Apache-2.0 */
/* `mcseal close`, `drain` and `log-level`: what changes a running daemon. Each is an exit status.
 */
#ifndef MCSEAL_CTL_ORDER_H
#define MCSEAL_CTL_ORDER_H

#include "ctl/options.h"

int order_close(const struct options *options);
int order_drain(const struct options *options);
int order_log_level(const struct options *options);

#endif
