/* SPDX-License-Identifier: Apache-2.0 */
/* What differs between two configurations that a running daemon cannot change. */
#ifndef MCSEAL_CONFIG_CONFIG_COMPARE_H
#define MCSEAL_CONFIG_CONFIG_COMPARE_H

#include "config/config.h"

/*
 * Edges and gateways have to be the same ones, in the same order, at the same addresses: their
 * listeners are open. True; or false, with what is not the same as a line's end in `text`, of
 * `size` bytes.
 */
bool config_compare_listeners(const struct config *now, const struct config *then, char *text,
			      size_t size);
/* The name of an option that only a new start changes and that differs, or NULL. */
const char *config_compare_start(const struct config *now, const struct config *then);

#endif
