/* SPDX-License-Identifier: Apache-2.0 */
#include "mcplc_request.h"
#include "base/error.h"
#include "mcplc_1e.h"
#include "mcplc_access.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LOOPBACK_MAX     960
#define BUFFER_WORDS_MAX 480

/* --- for the log ----------------------------------------------------------------------------- */

uint32_t mcplc_request_span(const struct mc_device *device, enum mcplc_unit unit)
{
	uint32_t words = device->kind == MC_DEVICE_BIT ? 16 : 1;

	switch (unit) {
	case MCPLC_BITS:
		break;
	case MCPLC_WORDS:
		return words;
	case MCPLC_DWORDS:
		return device->kind == MC_DEVICE_DWORD ? 1 : 2 * words;
	}
	return 1;
}

void mcplc_request_note(struct mcplc_job *job, const struct mc_device *device, uint32_t number,
			uint32_t points, enum mcplc_unit unit)
{
	char *devices = job->outcome->devices;
	size_t used = strlen(devices);
	size_t left = sizeof(job->outcome->devices) - used;
	char first[MC_DEVICE_TEXT_SIZE];
	char last[MC_DEVICE_TEXT_SIZE];
	uint64_t count;

	if (!device || left < 2 * sizeof(first) + 8) {
		if (device && left > 4 && (used < 3 || strcmp(devices + used - 3, "...") != 0))
			memcpy(devices + used, "...", 4);
		return;
	}
	count = (uint64_t)points * mcplc_request_span(device, unit);
	mc_device_print(device, number, first);
	mc_device_print(device, (uint32_t)(number + count - 1), last);
	snprintf(devices + used, left, "%s%s%s%s", used ? "," : "", first, count > 1 ? ".." : "",
		 count > 1 ? last : "");
}

uint16_t mcplc_request_finished(const struct mc_reader *reader)
{
	if (reader->error == MC_NUMBER_DIGIT)
		return MCPLC_NOT_HEX;
	return mc_reader_done(reader) ? MCPLC_OK : MCPLC_LENGTH;
}

/* --- commands without devices ---------------------------------------------------------------- */

static uint16_t cpu_model(struct mcplc_job *job)
{
	char name[MCPLC_MODEL_SIZE + 1];
	uint16_t error = mcplc_request_finished(&job->reader);

	if (error)
		return error;
	snprintf(name, sizeof(name), "%-*s", MCPLC_MODEL_SIZE, job->cpu->model);
	mc_writer_raw(&job->writer, name, MCPLC_MODEL_SIZE);
	mc_writer_number(&job->writer, job->cpu->model_code, 2);
	return MCPLC_OK;
}

static uint16_t loopback(struct mcplc_job *job)
{
	uint32_t size = mc_reader_number(&job->reader, 2);
	const uint8_t *text = mc_reader_raw(&job->reader, size);
	uint16_t error = mcplc_request_finished(&job->reader);

	if (error)
		return error;
	if (size < 1 || size > LOOPBACK_MAX)
		return MCPLC_CONTENT;
	for (uint32_t i = 0; i < size; i++) {
		uint32_t digit;

		if (text[i] > 'F' || !mc_number_from_hex(text + i, 1, &digit))
			return MCPLC_CONTENT;
	}
	mc_writer_number(&job->writer, size, 2);
	mc_writer_raw(&job->writer, text, size);
	return MCPLC_OK;
}

/* Buffer memory of the own module: address 4 bytes, words 2 bytes. */
static uint16_t buffer_range(struct mcplc_job *job, uint32_t *address, uint32_t *words)
{
	*address = mc_reader_number(&job->reader, 4);
	*words = mc_reader_number(&job->reader, 2);
	if (job->reader.error)
		return mcplc_request_finished(&job->reader);
	if (*words < 1 || *words > BUFFER_WORDS_MAX)
		return MCPLC_POINTS_WORDS;
	if (*address >= MCPLC_BUFFER_WORDS || *words > MCPLC_BUFFER_WORDS - *address)
		return MCPLC_BEYOND_END;
	return MCPLC_OK;
}

static uint16_t buffer_read(struct mcplc_job *job)
{
	const uint16_t *buffer = mcplc_memory_buffer(job->cpu->memory);
	uint32_t address;
	uint32_t words;
	uint16_t error = buffer_range(job, &address, &words);

	if (!error)
		error = mcplc_request_finished(&job->reader);
	for (uint32_t i = 0; !error && i < words; i++)
		mc_writer_number(&job->writer, buffer[address + i], 2);
	return error;
}

static uint16_t buffer_write(struct mcplc_job *job)
{
	uint16_t *buffer = mcplc_memory_buffer(job->cpu->memory);
	uint16_t values[BUFFER_WORDS_MAX];
	uint32_t address;
	uint32_t words;
	uint16_t error = buffer_range(job, &address, &words);

	if (error)
		return error;
	for (uint32_t i = 0; i < words; i++)
		values[i] = (uint16_t)mc_reader_number(&job->reader, 2);
	error = mcplc_request_finished(&job->reader);
	if (!error)
		memcpy(buffer + address, values, words * sizeof(values[0]));
	return error;
}

/* --- CPU state ------------------------------------------------------------------------------- */

static uint16_t remote_run(struct mcplc_job *job)
{
	uint32_t mode = mc_reader_number(&job->reader, 2);
	uint32_t clear = mc_reader_number(&job->reader, 1);
	uint32_t zero = mc_reader_number(&job->reader, 1);
	uint16_t error = mcplc_request_finished(&job->reader);

	if (error)
		return error;
	if ((mode != 1 && mode != 3) || clear > 2 || zero)
		return MCPLC_CONTENT;
	if (clear)
		mcplc_memory_clear(job->cpu->memory, clear == 2);
	mcplc_cpu_enter(job->cpu, MCPLC_RUN);
	return MCPLC_OK;
}

/* STOP, PAUSE, latch clear, RESET: nothing but a mode; 0003 is "forced" where that exists. */
static uint16_t remote_mode(struct mcplc_job *job, bool force_allowed)
{
	uint32_t mode = mc_reader_number(&job->reader, 2);
	uint16_t error = mcplc_request_finished(&job->reader);

	if (error)
		return error;
	return mode == 1 || (mode == 3 && force_allowed) ? MCPLC_OK : MCPLC_CONTENT;
}

static uint16_t remote_stop(struct mcplc_job *job)
{
	uint16_t error = remote_mode(job, true);

	if (!error)
		mcplc_cpu_enter(job->cpu, MCPLC_STOP);
	return error;
}

static uint16_t remote_pause(struct mcplc_job *job)
{
	uint16_t error = remote_mode(job, true);

	if (!error)
		mcplc_cpu_enter(job->cpu, MCPLC_PAUSE);
	return error;
}

static uint16_t latch_clear(struct mcplc_job *job)
{
	uint16_t error = remote_mode(job, false);

	if (!error && job->cpu->state != MCPLC_STOP)
		error = MCPLC_CPU_STATE;
	if (!error)
		mcplc_memory_clear(job->cpu->memory, true);
	return error;
}

static uint16_t remote_reset(struct mcplc_job *job)
{
	uint16_t error = remote_mode(job, false);

	if (!error && job->cpu->state != MCPLC_STOP)
		error = MCPLC_CPU_STATE;
	if (error)
		return error;
	mcplc_cpu_reset(job->cpu);
	job->outcome->action = MCPLC_RESET;
	return MCPLC_OK;
}

static uint16_t clear_error(struct mcplc_job *job)
{
	return mcplc_request_finished(&job->reader);
}

/* --- remote password ------------------------------------------------------------------------- */

static uint16_t password(struct mcplc_job *job, bool unlock)
{
	uint32_t size = mc_reader_number(&job->reader, 2);
	const uint8_t *text = mc_reader_raw(&job->reader, size);
	uint16_t error = mcplc_request_finished(&job->reader);

	if (error)
		return error;
	if (!mcplc_cpu_password_right(job->cpu, text, size))
		return MCPLC_PASSWORD;
	job->link->unlocked = unlock;
	return MCPLC_OK;
}

static uint16_t password_unlock(struct mcplc_job *job)
{
	return password(job, true);
}

static uint16_t password_lock(struct mcplc_job *job)
{
	return password(job, false);
}

/* --- all of them ----------------------------------------------------------------------------- */

struct command {
	uint16_t code;
	uint16_t subcommands; /* bit n: subcommand n is supported */
	bool without_unlock;
	uint16_t (*run)(struct mcplc_job *job);
};

enum {
	SUB_0 = 1 << 0,
	SUB_FORMS = 1 << 0 | 1 << 2,                   /* words, Q/L and iQ-R form */
	SUB_UNITS = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 3, /* and bits */
};

static const struct command COMMANDS[] = {
	{0x0101, SUB_0, false, cpu_model},
	{0x0401, SUB_UNITS, false, mcplc_access_batch_read},
	{0x0403, SUB_FORMS, false, mcplc_access_random_read},
	{0x0406, SUB_FORMS, false, mcplc_access_block_read},
	{0x0613, SUB_0, false, buffer_read},
	{0x0619, SUB_0, false, loopback},
	{0x0801, SUB_FORMS, false, mcplc_access_monitor_register},
	{0x0802, SUB_0, false, mcplc_access_monitor},
	{0x1001, SUB_0, false, remote_run},
	{0x1002, SUB_0, false, remote_stop},
	{0x1003, SUB_0, false, remote_pause},
	{0x1005, SUB_0, false, latch_clear},
	{0x1006, SUB_0, false, remote_reset},
	{0x1401, SUB_UNITS, false, mcplc_access_batch_write},
	{0x1402, SUB_UNITS, false, mcplc_access_random_write},
	{0x1406, SUB_FORMS, false, mcplc_access_block_write},
	{0x1613, SUB_0, false, buffer_write},
	{0x1617, SUB_0, false, clear_error},
	{0x1630, SUB_0, true, password_unlock},
	{0x1631, SUB_0, true, password_lock},
};

static const struct command *find_command(const struct mc_request *request)
{
	for (size_t i = 0; i < ARRAY_SIZE(COMMANDS); i++) {
		const struct command *command = &COMMANDS[i];

		if (command->code == request->command && request->subcommand < 16 &&
		    command->subcommands & 1u << request->subcommand)
			return command;
	}
	return NULL;
}

static uint16_t execute(struct mcplc_job *job)
{
	const struct command *command = find_command(job->request);

	if (!mcplc_cpu_station_known(job->cpu, &job->request->route))
		return MCPLC_NO_TARGET;
	/* Locked comes first: an outsider learns nothing about what the PLC can do. */
	if (mcplc_cpu_locked(job->cpu, job->link) && !(command && command->without_unlock))
		return MCPLC_LOCKED;
	if (!command)
		return MCPLC_NOT_SUPPORTED;
	return command->run(job);
}

int mcplc_request_execute(struct mcplc_cpu *cpu, struct mcplc_link *link, const uint8_t *bytes,
			  size_t length, uint8_t *answer, struct mcplc_outcome *outcome)
{
	/* The data is built where it will stand or behind that, then moved. */
	uint8_t *data = answer + MC_FRAME_ERROR_SIZE;
	size_t room = MCPLC_ANSWER_SIZE - MC_FRAME_ERROR_SIZE;
	const struct mc_request *request = &outcome->request;
	struct mcplc_job job = {.cpu = cpu, .link = link, .request = request, .outcome = outcome};
	int error;

	*outcome = (struct mcplc_outcome){.action = MCPLC_ANSWER};
	error = mc_frame_parse_request(bytes, length, &outcome->request);
	if (error)
		return error;
	job.reader = (struct mc_reader){
		.code = request->code, .at = request->data, .left = request->data_size};
	job.writer = (struct mc_writer){.code = request->code, .at = data, .left = room};
	outcome->end_code =
		request->family == MC_FAMILY_1E ? mcplc_1e_execute(&job) : execute(&job);
	if (outcome->end_code)
		outcome->length = mc_frame_put_error(request, outcome->end_code, job.abnormal_code,
						     answer, MCPLC_ANSWER_SIZE);
	else
		outcome->length = mc_frame_put_answer(request, data, room - job.writer.left, answer,
						      MCPLC_ANSWER_SIZE);
	/* Too small an answer buffer would be a fault of this program. */
	return outcome->length && !job.writer.error ? 0 : -EMSGSIZE;
}
