/* SPDX-License-Identifier: Apache-2.0 */
#include "mcplc_cpu.h"

#include <string.h>

void mcplc_cpu_enter(struct mcplc_cpu *cpu, enum mcplc_state state)
{
	cpu->state = state;
	mcplc_memory_set_word(cpu->memory, mc_device_by_name("SD"), 203, (uint16_t)state);
}

void mcplc_cpu_reset(struct mcplc_cpu *cpu)
{
	mcplc_memory_clear(cpu->memory, false);
	memset(&cpu->monitor, 0, sizeof(cpu->monitor));
	memset(cpu->monitor_1e, 0, sizeof(cpu->monitor_1e));
	mcplc_cpu_enter(cpu, MCPLC_RUN);
}

bool mcplc_cpu_password_right(const struct mcplc_cpu *cpu, const uint8_t *text, size_t size)
{
	if (!cpu->password[0])
		return true;
	return size == strlen(cpu->password) && memcmp(text, cpu->password, size) == 0;
}

bool mcplc_cpu_locked(const struct mcplc_cpu *cpu, const struct mcplc_link *link)
{
	return cpu->password[0] && !link->unlocked;
}

bool mcplc_cpu_station_known(const struct mcplc_cpu *cpu, const struct mc_route *route)
{
	if (mc_frame_route_equal(route, &MC_ROUTE_OWN))
		return true;
	for (size_t i = 0; i < cpu->station_count; i++) {
		if (mc_frame_route_equal(route, &cpu->stations[i]))
			return true;
	}
	return false;
}
