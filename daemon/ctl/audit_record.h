/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A line of the audit log, read back: who asked for what at which PLC, and whether it passed.
 *
 * Two forms: the text that mcseald writes to stderr, as it is, or as journalctl(1) and syslog show
 * it (`... mcseald[PID]: ...`); and JSON, an object a line, with the event's name as "event", or
 * as `journalctl -o json` has it. docs/policy.md tells the lines.
 *
 * Others decide what stands in values of a log, so a line is an audit line only where mcseald
 * itself has begun it, and every field is held to its form. Pure: no I/O.
 */
#ifndef MCSEAL_CTL_AUDIT_RECORD_H
#define MCSEAL_CTL_AUDIT_RECORD_H

#include "ctl/point_set.h"
#include "mc/mc_command.h"
#include "mc/mc_frame.h"

#define AUDIT_LINE_MAX 65536

enum audit_event {
	AUDIT_REQUEST, /* it passed */
	AUDIT_REFUSED,
	AUDIT_OBSERVED, /* it passed, and will not without observe = yes */
};

enum audit_outcome {
	AUDIT_OTHER = 1, /* a line about something else */
	AUDIT_BROKEN,    /* an audit line that is cut or not to be understood */
};

struct audit_record {
	enum audit_event event;
	const char *identity, *plc;
	enum mc_family family; /* 3E or 4E; or 1E: of the route only pc, no subcommand */
	struct mc_route route;
	uint16_t command, subcommand;
	enum mc_class class;
	const char *rule;          /* NULL with AUDIT_REQUEST */
	const char *points;        /* "" if there are none; audit_record_points() takes it apart */
	unsigned long more_points; /* ranges that the line had no room for */

	char text[AUDIT_LINE_MAX + 1]; /* what the strings are in */
};

/*
 * Reads a line of `size` bytes, without its end. 0: *record, whose strings are in itself; or an
 * outcome. -ENOMEM.
 */
int audit_record_read(const char *line, size_t size, struct audit_record *record);

/*
 * The next range of a record's points; starts with *rest = record->points. False: no more.
 * A record has none that it does not understand.
 */
bool audit_record_points(const char **rest, struct point_range *range);

#endif
