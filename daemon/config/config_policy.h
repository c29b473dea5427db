/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MCSEAL_CONFIG_CONFIG_POLICY_H
#define MCSEAL_CONFIG_CONFIG_POLICY_H

#include "config/config.h"
#include "config/config_report.h"

/* Resolves what identities say of policies, and judges policies and what does without one. */
void config_policy_check(const struct config *config, struct config_report *report);

#endif
