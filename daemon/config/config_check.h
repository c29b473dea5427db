/* SPDX-License-Identifier: Apache-2.0 */
/* The rules that look at more than one value of the file. */
#ifndef MCSEAL_CONFIG_CONFIG_CHECK_H
#define MCSEAL_CONFIG_CONFIG_CHECK_H

#include "config/config.h"
#include "config/config_report.h"

/*
 * Judges the whole and resolves what depends on other sections (a gateway's plc, a source's ca,
 * an edge's transparent). Faults go to `report`; values with faults of their own may be missing.
 * 0 or -ENOMEM.
 */
int config_check(struct config *config, struct config_report *report);

#endif
