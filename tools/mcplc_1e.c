/* SPDX-License-Identifier: Apache-2.0 */
#include "mcplc_1e.h"
#include "base/error.h"
#include "mcplc_access.h"

/* Complete codes: FX3U-ENET-ADP User's Manual. */
enum {
	COMPLETE_OK = 0x00,
	COMPLETE_COMMAND = 0x50,
	COMPLETE_NOT_HEX = 0x54,
	COMPLETE_DEVICE = 0x56,
	COMPLETE_POINTS = 0x57,
	COMPLETE_HEAD = 0x58,
	COMPLETE_CPU = 0x5b, /* the abnormal code says more */
	ABNORMAL_PC_NUMBER = 0x10,
	ABNORMAL_FORBIDDEN = 0x18,
};

/* Limits of the QnU built-in port, where known; else those of A-compatible modules. */
enum {
	READ_MAX = 256,
	READ_WORDS_OF_BITS_MAX = 128,
	WRITE_MAX = 256,
	WRITE_WORDS_OF_BITS_MAX = 40,
	RANDOM_BITS_MAX_1E = 80,
	RANDOM_WORDS_MAX = 40,
	MONITOR_BITS_MAX = 40,
	MONITOR_WORDS_MAX = 20,
	PC_OWN = 0xff,
};

static uint16_t finished(const struct mc_reader *reader)
{
	if (reader->error == MC_NUMBER_DIGIT)
		return COMPLETE_NOT_HEX;
	return mc_reader_done(reader) ? COMPLETE_OK : COMPLETE_HEAD;
}

static uint16_t check_range_1e(struct mcplc_job *job, const struct mcplc_point *head,
			       uint32_t points, enum mcplc_unit unit)
{
	const struct mc_device *device = head->device;
	uint64_t configured;

	if (!device)
		return COMPLETE_DEVICE;
	mcplc_request_note(job, device, head->number, points, unit);
	if (unit == MCPLC_BITS && device->kind != MC_DEVICE_BIT)
		return COMPLETE_HEAD;
	/* A word of a bit device begins at a multiple of 16. */
	if (unit == MCPLC_WORDS && device->kind == MC_DEVICE_BIT &&
	    (head->number % 16 || device->timer_contact))
		return COMPLETE_HEAD;
	configured = mcplc_memory_points(job->cpu->memory, device);
	if ((uint64_t)head->number + (uint64_t)points * mcplc_request_span(device, unit) >
	    configured)
		return COMPLETE_POINTS;
	return COMPLETE_OK;
}

/* --- batch ----------------------------------------------------------------------------------- */

struct batch {
	struct mcplc_point head;
	uint32_t points;
	enum mcplc_unit unit;
	uint32_t max;
	uint32_t max_words_of_bits;
};

static uint16_t read_batch(struct mcplc_job *job, struct batch *batch)
{
	uint32_t zero;

	mc_device_read_1e(&job->reader, &batch->head.device, &batch->head.number);
	batch->points = mc_reader_number(&job->reader, 1);
	zero = mc_reader_number(&job->reader, 1);
	if (job->reader.error)
		return finished(&job->reader);
	if (zero)
		return COMPLETE_HEAD;
	if (batch->points == 0)
		batch->points = 256;
	if (!batch->head.device)
		return COMPLETE_DEVICE;
	if (batch->unit == MCPLC_WORDS && batch->head.device->kind == MC_DEVICE_BIT)
		batch->max = batch->max_words_of_bits;
	if (batch->points > batch->max)
		return COMPLETE_POINTS;
	return check_range_1e(job, &batch->head, batch->points, batch->unit);
}

/* An odd number of bits is filled up to a whole byte, in ASCII with one '0' (manual, 7.5). */
static size_t bits_size(const struct mcplc_job *job, uint32_t points)
{
	size_t bytes = (points + 1) / 2;

	return job->request->code == MC_CODE_ASCII ? 2 * bytes : bytes;
}

static uint16_t batch_read(struct mcplc_job *job, enum mcplc_unit unit)
{
	struct batch batch = {
		.unit = unit, .max = READ_MAX, .max_words_of_bits = READ_WORDS_OF_BITS_MAX};
	uint16_t error = read_batch(job, &batch);

	if (!error)
		error = finished(&job->reader);
	if (error)
		return error;
	if (unit == MCPLC_BITS) {
		mcplc_access_put_bits(job, batch.head.device, batch.head.number, batch.points);
		if (job->request->code == MC_CODE_ASCII && batch.points % 2)
			mc_writer_raw(&job->writer, "0", 1);
		return COMPLETE_OK;
	}
	for (uint32_t i = 0; i < batch.points; i++)
		mc_writer_number(
			&job->writer,
			mcplc_memory_word(job->cpu->memory, batch.head.device,
					  batch.head.number +
						  i * mcplc_request_span(batch.head.device, unit)),
			2);
	return COMPLETE_OK;
}

static uint16_t batch_read_bits(struct mcplc_job *job)
{
	return batch_read(job, MCPLC_BITS);
}

static uint16_t batch_read_words(struct mcplc_job *job)
{
	return batch_read(job, MCPLC_WORDS);
}

static uint16_t batch_write_bits(struct mcplc_job *job)
{
	struct batch batch = {.unit = MCPLC_BITS, .max = WRITE_MAX};
	uint16_t error = read_batch(job, &batch);
	const uint8_t *data;

	if (error)
		return error;
	data = mc_reader_raw(&job->reader, bits_size(job, batch.points));
	error = finished(&job->reader);
	if (error)
		return error;
	return mcplc_access_set_bits(job, batch.head.device, batch.head.number, batch.points, data)
		       ? COMPLETE_OK
		       : COMPLETE_HEAD;
}

static uint16_t batch_write_words(struct mcplc_job *job)
{
	struct batch batch = {.unit = MCPLC_WORDS,
			      .max = WRITE_MAX,
			      .max_words_of_bits = WRITE_WORDS_OF_BITS_MAX};
	uint16_t error = read_batch(job, &batch);
	uint16_t values[WRITE_MAX];

	if (error)
		return error;
	for (uint32_t i = 0; i < batch.points; i++)
		values[i] = (uint16_t)mc_reader_number(&job->reader, 2);
	error = finished(&job->reader);
	for (uint32_t i = 0; !error && i < batch.points; i++)
		mcplc_memory_set_word(
			job->cpu->memory, batch.head.device,
			batch.head.number + i * mcplc_request_span(batch.head.device, MCPLC_WORDS),
			values[i]);
	return error;
}

/* --- lists of single devices ----------------------------------------------------------------- */

/* Number of points and a zero; the complete code for a number out of range. */
static uint16_t read_count(struct mcplc_job *job, uint32_t max, uint32_t *count)
{
	uint32_t zero;

	*count = mc_reader_number(&job->reader, 1);
	zero = mc_reader_number(&job->reader, 1);
	if (job->reader.error)
		return finished(&job->reader);
	if (zero)
		return COMPLETE_HEAD;
	return *count < 1 || *count > max ? COMPLETE_POINTS : COMPLETE_OK;
}

static uint16_t write_entry_1e(struct mcplc_job *job, enum mcplc_unit unit, bool apply)
{
	struct mcplc_memory *memory = job->cpu->memory;
	struct mcplc_point point;
	uint32_t value;
	uint16_t error;

	mc_device_read_1e(&job->reader, &point.device, &point.number);
	value = mc_reader_number(&job->reader, unit == MCPLC_BITS ? 1 : 2);
	if (job->reader.error)
		return finished(&job->reader);
	if (!apply) {
		error = check_range_1e(job, &point, 1, unit);
		return !error && unit == MCPLC_BITS && value > 1 ? COMPLETE_HEAD : error;
	}
	if (unit == MCPLC_BITS)
		mcplc_memory_set_bit(memory, point.device, point.number, value);
	else
		mcplc_memory_set_word(memory, point.device, point.number, (uint16_t)value);
	return COMPLETE_OK;
}

static uint16_t random_write_1e(struct mcplc_job *job, enum mcplc_unit unit, uint32_t max)
{
	struct mc_reader entries;
	uint32_t count;
	uint16_t error = read_count(job, max, &count);

	entries = job->reader;
	for (uint32_t i = 0; !error && i < count; i++)
		error = write_entry_1e(job, unit, false);
	if (!error)
		error = finished(&job->reader);
	job->reader = entries;
	for (uint32_t i = 0; !error && i < count; i++)
		error = write_entry_1e(job, unit, true);
	return error;
}

static uint16_t random_write_bits(struct mcplc_job *job)
{
	return random_write_1e(job, MCPLC_BITS, RANDOM_BITS_MAX_1E);
}

static uint16_t random_write_words(struct mcplc_job *job)
{
	return random_write_1e(job, MCPLC_WORDS, RANDOM_WORDS_MAX);
}

static uint16_t monitor_register(struct mcplc_job *job, enum mcplc_unit unit, uint32_t max)
{
	struct mcplc_monitor list = {.dwords = 0};
	uint32_t count;
	uint16_t error = read_count(job, max, &count);

	list.words = count;
	for (uint32_t i = 0; !error && i < count; i++) {
		mc_device_read_1e(&job->reader, &list.points[i].device, &list.points[i].number);
		if (job->reader.error)
			return finished(&job->reader);
		error = check_range_1e(job, &list.points[i], 1, unit);
	}
	if (!error)
		error = finished(&job->reader);
	if (!error)
		job->cpu->monitor_1e[unit == MCPLC_WORDS] = list;
	return error;
}

static uint16_t monitor_register_bits(struct mcplc_job *job)
{
	return monitor_register(job, MCPLC_BITS, MONITOR_BITS_MAX);
}

static uint16_t monitor_register_words(struct mcplc_job *job)
{
	return monitor_register(job, MCPLC_WORDS, MONITOR_WORDS_MAX);
}

static uint16_t monitor_bits(struct mcplc_job *job)
{
	const struct mcplc_monitor *list = &job->cpu->monitor_1e[0];
	uint8_t nibbles[MONITOR_BITS_MAX];

	if (!list->words)
		return COMPLETE_POINTS;
	for (size_t i = 0; i < list->words; i++)
		nibbles[i] = mcplc_memory_bit(job->cpu->memory, list->points[i].device,
					      list->points[i].number);
	for (size_t i = 0; i < list->words; i += 2) {
		uint32_t second = i + 1 < list->words ? nibbles[i + 1] : 0;

		mc_writer_number(&job->writer, (uint32_t)nibbles[i] << 4 | second, 1);
	}
	return finished(&job->reader);
}

static uint16_t monitor_words(struct mcplc_job *job)
{
	const struct mcplc_monitor *list = &job->cpu->monitor_1e[1];

	if (!list->words)
		return COMPLETE_POINTS;
	for (size_t i = 0; i < list->words; i++)
		mc_writer_number(&job->writer,
				 mcplc_memory_word(job->cpu->memory, list->points[i].device,
						   list->points[i].number),
				 2);
	return finished(&job->reader);
}

/* --- the rest -------------------------------------------------------------------------------- */

static uint16_t remote_run_1e(struct mcplc_job *job)
{
	uint16_t error = finished(&job->reader);

	if (!error)
		mcplc_cpu_enter(job->cpu, MCPLC_RUN);
	return error;
}

static uint16_t remote_stop_1e(struct mcplc_job *job)
{
	uint16_t error = finished(&job->reader);

	if (!error)
		mcplc_cpu_enter(job->cpu, MCPLC_STOP);
	return error;
}

static uint16_t plc_model(struct mcplc_job *job)
{
	mc_writer_number(&job->writer, job->cpu->model_code_1e, 1);
	mc_writer_number(&job->writer, 0, 1);
	return finished(&job->reader);
}

static uint16_t loopback_1e(struct mcplc_job *job)
{
	uint32_t size = mc_reader_number(&job->reader, 1);
	size_t characters = job->request->code == MC_CODE_ASCII ? 2 * size : size;
	const uint8_t *data = mc_reader_raw(&job->reader, characters);
	uint16_t error = finished(&job->reader);

	if (error)
		return error;
	if (size < 1 || size > 254)
		return COMPLETE_HEAD;
	mc_writer_number(&job->writer, size, 1);
	mc_writer_raw(&job->writer, data, characters);
	return COMPLETE_OK;
}

struct command_1e {
	uint8_t code;
	uint16_t (*run)(struct mcplc_job *job);
};

static const struct command_1e COMMANDS_1E[] = {
	{0x00, batch_read_bits},
	{0x01, batch_read_words},
	{0x02, batch_write_bits},
	{0x03, batch_write_words},
	{0x04, random_write_bits},
	{0x05, random_write_words},
	{0x06, monitor_register_bits},
	{0x07, monitor_register_words},
	{0x08, monitor_bits},
	{0x09, monitor_words},
	{0x13, remote_run_1e},
	{0x14, remote_stop_1e},
	{0x15, plc_model},
	{0x16, loopback_1e},
};

static uint16_t refuse(struct mcplc_job *job, uint8_t abnormal_code)
{
	job->abnormal_code = abnormal_code;
	return COMPLETE_CPU;
}

uint16_t mcplc_1e_execute(struct mcplc_job *job)
{
	if (job->request->route.pc != PC_OWN)
		return refuse(job, ABNORMAL_PC_NUMBER);
	/* 1E has no way to unlock; what it says then is not documented, 18 is the nearest. */
	if (mcplc_cpu_locked(job->cpu, job->link))
		return refuse(job, ABNORMAL_FORBIDDEN);
	for (size_t i = 0; i < ARRAY_SIZE(COMMANDS_1E); i++) {
		if (COMMANDS_1E[i].code == job->request->command)
			return COMMANDS_1E[i].run(job);
	}
	return COMPLETE_COMMAND;
}
