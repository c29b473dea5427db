/* SPDX-License-Identifier: Apache-2.0 */
#include "control/admin.h"

#include "base/log.h"

void admin_tell(const struct control_question *question)
{
	struct log_entry entry;

	log_begin(&entry, LOG_LEVEL_WARNING, "admin");
	log_field(&entry, "command", "%s%s%s", question->command,
		  *question->arguments != '\0' ? " " : "", question->arguments);
	log_field(&entry, "uid", "%u", question->asker.uid);
	log_field(&entry, "gid", "%u", question->asker.gid);
	log_field(&entry, "pid", "%d", (int)question->asker.pid);
	log_end(&entry);
}
