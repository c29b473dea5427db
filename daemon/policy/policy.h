/* SPDX-License-Identifier: Apache-2.0 */
/*
 * May this request pass? Decided by what it would touch (mc/mc_access.h) and by what the policy of
 * the one who asks allows, before a byte of it reaches the PLC.
 *
 * Pure: no I/O, no allocation, no state. docs/policy.md tells the same to those who write policies.
 */
#ifndef MCSEAL_POLICY_POLICY_H
#define MCSEAL_POLICY_POLICY_H

#include "config/config.h"
#include "mc/mc_access.h"

/* Why a request does not pass; names as in logs and docs/policy.md. The first that applies. */
enum policy_rule {
	POLICY_RULE_NONE,       /* it passes */
	POLICY_RULE_LENGTH,     /* G1: longer or shorter than its counts say */
	POLICY_RULE_COUNT,      /* G2: no points, too many, or beyond the last number */
	POLICY_RULE_SHAPE,      /* G5: a device or field of a kind that the command does not have */
	POLICY_RULE_SUBCOMMAND, /* G6: not in the table for this command */
	POLICY_RULE_COMMAND,    /* G6: unknown, and not listed */
	POLICY_RULE_ROUTE,      /* G4: for a station that is not listed */
	POLICY_RULE_CLASS,      /* neither its class nor itself is allowed */
	POLICY_RULE_UNREADABLE, /* G6: reads or writes something else than devices; not listed */
	POLICY_RULE_READ,       /* reads points outside the listed ones */
	POLICY_RULE_WRITE,      /* writes points outside the listed ones */
	/* Not for policy_judge() to find: */
	POLICY_RULE_PASSWORD, /* G7: remote passwords are refused, or were wrong too often */
	POLICY_RULE_BUDGET,   /* G9: more requests per second than the policy has */
	POLICY_RULE_BUSY,     /* G9: no turn among those who ask the same PLC */
	POLICY_RULE_AUDIT,    /* it changes something and cannot be written down first */
	POLICY_RULES,
};

struct policy_verdict {
	enum policy_rule rule;
	struct mc_access access;
	struct mc_range range; /* READ and WRITE: the first that is not allowed; else device NULL */
	/* What the client is told: 3E/4E end code, or 1E complete code and, if that is 5B, ... */
	uint16_t end_code;
	uint8_t abnormal_code;
};

/*
 * Judges a request as mc_frame_parse_request() gave it. `policy` NULL: reads of devices of the
 * PLC's own station pass, nothing else. `observe` is the caller's affair.
 */
void policy_judge(const struct config_policy *policy, const struct mc_request *request,
		  struct policy_verdict *verdict);

/* Refuses what policy_judge() has looked at for a reason that it does not know. */
void policy_refuse(const struct mc_request *request, enum policy_rule rule,
		   struct policy_verdict *verdict);

/* "none", "length", ...; as in docs/policy.md. */
const char *policy_rule_name(enum policy_rule rule);

#endif
