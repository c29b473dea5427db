/* SPDX-License-Identifier: Apache-2.0 */
#include "doctor/finding.h"

const char *finding_result_name(enum finding_result result)
{
	static const char *const NAMES[] = {"ok", "note", "warning", "FAILED", "not asked"};

	return NAMES[result];
}
