/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How it works
 *
 * Every command reads its request twice where it writes: once with `apply` false, which checks
 * everything, then once more to do it. So a refused request has changed nothing.
 *
 * Limits per request: MELSEC Communication Protocol Reference Manual, appendix 5.
 */
#include "mcplc_access.h"

#include <string.h>

enum {
	WORDS_MAX = 960,
	BITS_MAX_BINARY = 7168,
	BITS_MAX_ASCII = 3584,
	RANDOM_MAX = 192, /* words + double words; half of it in iQ-R form */
	RANDOM_WEIGHT_MAX = 1920,
	RANDOM_WEIGHT_WORD = 12,
	RANDOM_WEIGHT_DWORD = 14,
	RANDOM_BITS_MAX = 188,
	BLOCKS_MAX = 120,
	SUB_BIT_UNITS = 1,
	SUB_LONG_FORM = 2,
};

static enum mc_device_form form_of(const struct mcplc_job *job)
{
	return job->request->subcommand & SUB_LONG_FORM ? MC_DEVICE_LONG : MC_DEVICE_SHORT;
}

static bool bit_units(const struct mcplc_job *job)
{
	return job->request->subcommand & SUB_BIT_UNITS;
}

/* In iQ-R form half as many fit. */
static uint32_t limit(const struct mcplc_job *job, uint32_t short_form)
{
	return form_of(job) == MC_DEVICE_LONG ? short_form / 2 : short_form;
}

/* --- one device range ------------------------------------------------------------------------ */

static uint16_t check_kind(const struct mc_device *device, enum mcplc_unit unit)
{
	if (!device || device->extended_only)
		return MCPLC_NOT_THIS_WAY;
	if (unit == MCPLC_BITS)
		return device->kind == MC_DEVICE_BIT ? MCPLC_OK : MCPLC_CONTENT;
	if (device->timer_contact)
		return MCPLC_CONTACT;
	if (unit == MCPLC_WORDS && device->kind == MC_DEVICE_DWORD)
		return MCPLC_NOT_THIS_WAY;
	return MCPLC_OK;
}

/* A head outside the device is 4031, a range that only ends outside C056. */
static uint16_t check_range(struct mcplc_job *job, const struct mc_device *device, uint32_t number,
			    uint32_t points, enum mcplc_unit unit)
{
	uint16_t error = check_kind(device, unit);
	uint32_t configured;

	if (error)
		return error;
	mcplc_request_note(job, device, number, points, unit);
	configured = mcplc_memory_points(job->cpu->memory, device);
	if (!configured)
		return MCPLC_NO_DEVICE;
	if (number >= configured)
		return MCPLC_OUT_OF_RANGE;
	if ((uint64_t)number + (uint64_t)points * mcplc_request_span(device, unit) > configured)
		return MCPLC_BEYOND_END;
	return MCPLC_OK;
}

/* Device and number at the reader. */
static uint16_t read_device(struct mcplc_job *job, struct mcplc_point *point)
{
	if (!mc_device_read(&job->reader, form_of(job), &point->device, &point->number))
		return mcplc_request_finished(&job->reader);
	return MCPLC_OK;
}

static void put_words(struct mcplc_job *job, const struct mcplc_point *head, uint32_t points)
{
	uint32_t span = mcplc_request_span(head->device, MCPLC_WORDS);

	for (uint32_t i = 0; i < points; i++)
		mc_writer_number(
			&job->writer,
			mcplc_memory_word(job->cpu->memory, head->device, head->number + i * span),
			2);
}

/* The reader stands at the values; with apply false they are only skipped. */
static void take_words(struct mcplc_job *job, const struct mcplc_point *head, uint32_t points,
		       bool apply)
{
	uint32_t span = mcplc_request_span(head->device, MCPLC_WORDS);

	for (uint32_t i = 0; i < points && !job->reader.error; i++) {
		uint16_t value = (uint16_t)mc_reader_number(&job->reader, 2);

		if (apply)
			mcplc_memory_set_word(job->cpu->memory, head->device,
					      head->number + i * span, value);
	}
}

void mcplc_access_put_bits(struct mcplc_job *job, const struct mc_device *device, uint32_t number,
			   uint32_t points)
{
	const struct mcplc_memory *memory = job->cpu->memory;
	bool ascii = job->writer.code == MC_CODE_ASCII;

	for (uint32_t i = 0; i < points; i++) {
		uint8_t byte = mcplc_memory_bit(memory, device, number + i);

		if (ascii) {
			byte += '0';
		} else {
			byte = (uint8_t)(byte << 4);
			if (++i < points)
				byte |= mcplc_memory_bit(memory, device, number + i);
		}
		mc_writer_raw(&job->writer, &byte, 1);
	}
}

static uint8_t bit_value(enum mc_code code, const uint8_t *data, uint32_t i)
{
	if (code == MC_CODE_ASCII)
		return (uint8_t)(data[i] - '0');
	return i % 2 ? data[i / 2] & 0xf : data[i / 2] >> 4;
}

bool mcplc_access_set_bits(struct mcplc_job *job, const struct mc_device *device, uint32_t number,
			   uint32_t points, const uint8_t *data)
{
	for (uint32_t i = 0; i < points; i++) {
		if (bit_value(job->reader.code, data, i) > 1)
			return false;
	}
	for (uint32_t i = 0; i < points; i++)
		mcplc_memory_set_bit(job->cpu->memory, device, number + i,
				     bit_value(job->reader.code, data, i));
	return true;
}

/* --- batch ----------------------------------------------------------------------------------- */

static uint16_t read_batch_head(struct mcplc_job *job, struct mcplc_point *head, uint32_t *points)
{
	uint32_t bits_max = job->request->code == MC_CODE_ASCII ? BITS_MAX_ASCII : BITS_MAX_BINARY;
	uint16_t error = read_device(job, head);

	*points = mc_reader_number(&job->reader, 2);
	if (error || job->reader.error)
		return mcplc_request_finished(&job->reader);
	if (bit_units(job)) {
		if (*points < 1 || *points > bits_max)
			return MCPLC_POINTS_BITS;
		return check_range(job, head->device, head->number, *points, MCPLC_BITS);
	}
	if (*points < 1 || *points > WORDS_MAX)
		return MCPLC_POINTS_WORDS;
	return check_range(job, head->device, head->number, *points, MCPLC_WORDS);
}

uint16_t mcplc_access_batch_read(struct mcplc_job *job)
{
	struct mcplc_point head;
	uint32_t points;
	uint16_t error = read_batch_head(job, &head, &points);

	if (!error)
		error = mcplc_request_finished(&job->reader);
	if (error)
		return error;
	if (bit_units(job))
		mcplc_access_put_bits(job, head.device, head.number, points);
	else
		put_words(job, &head, points);
	return MCPLC_OK;
}

static uint16_t write_bits(struct mcplc_job *job, const struct mcplc_point *head, uint32_t points)
{
	size_t size = job->request->code == MC_CODE_ASCII ? points : (points + 1) / 2;
	const uint8_t *data = mc_reader_raw(&job->reader, size);
	uint16_t error = mcplc_request_finished(&job->reader);

	if (error)
		return error;
	return mcplc_access_set_bits(job, head->device, head->number, points, data)
		       ? MCPLC_OK
		       : MCPLC_BIT_DATA;
}

uint16_t mcplc_access_batch_write(struct mcplc_job *job)
{
	struct mcplc_point head;
	struct mc_reader values;
	uint32_t points;
	uint16_t error = read_batch_head(job, &head, &points);

	if (error)
		return error;
	if (bit_units(job))
		return write_bits(job, &head, points);
	values = job->reader;
	take_words(job, &head, points, false);
	error = mcplc_request_finished(&job->reader);
	if (error)
		return error;
	job->reader = values;
	take_words(job, &head, points, true);
	return MCPLC_OK;
}

/* --- random ---------------------------------------------------------------------------------- */

static void put_list(struct mcplc_job *job, const struct mcplc_monitor *list)
{
	const struct mcplc_memory *memory = job->cpu->memory;
	size_t i = 0;

	for (; i < list->words; i++)
		mc_writer_number(
			&job->writer,
			mcplc_memory_word(memory, list->points[i].device, list->points[i].number),
			2);
	for (; i < list->words + list->dwords; i++)
		mc_writer_number(
			&job->writer,
			mcplc_memory_dword(memory, list->points[i].device, list->points[i].number),
			4);
}

/* The request data of 0403 and 0801. */
static uint16_t read_list(struct mcplc_job *job, struct mcplc_monitor *list)
{
	list->words = mc_reader_number(&job->reader, 1);
	list->dwords = mc_reader_number(&job->reader, 1);
	if (job->reader.error)
		return mcplc_request_finished(&job->reader);
	if (list->words + list->dwords < 1 || list->words + list->dwords > limit(job, RANDOM_MAX))
		return MCPLC_POINTS_RANDOM;
	for (size_t i = 0; i < list->words + list->dwords; i++) {
		enum mcplc_unit unit = i < list->words ? MCPLC_WORDS : MCPLC_DWORDS;
		uint16_t error = read_device(job, &list->points[i]);

		if (!error)
			error = check_range(job, list->points[i].device, list->points[i].number, 1,
					    unit);
		if (error)
			return error;
	}
	return mcplc_request_finished(&job->reader);
}

uint16_t mcplc_access_random_read(struct mcplc_job *job)
{
	struct mcplc_monitor list;
	uint16_t error = read_list(job, &list);

	if (!error)
		put_list(job, &list);
	return error;
}

/* One (device, value) of 1402: a state of 1 or 2 bytes, a word, or a double word. */
static uint16_t write_entry(struct mcplc_job *job, enum mcplc_unit unit, bool apply)
{
	size_t state_size = form_of(job) == MC_DEVICE_LONG ? 2 : 1;
	size_t size = unit == MCPLC_BITS ? state_size : unit == MCPLC_WORDS ? 2 : 4;
	struct mcplc_memory *memory = job->cpu->memory;
	struct mcplc_point point;
	uint16_t error = read_device(job, &point);
	uint32_t value = mc_reader_number(&job->reader, size);

	if (error || job->reader.error)
		return mcplc_request_finished(&job->reader);
	if (!apply) {
		error = check_range(job, point.device, point.number, 1, unit);
		return !error && unit == MCPLC_BITS && value > 1 ? MCPLC_BIT_DATA : error;
	}
	if (unit == MCPLC_BITS)
		mcplc_memory_set_bit(memory, point.device, point.number, value);
	else if (unit == MCPLC_WORDS)
		mcplc_memory_set_word(memory, point.device, point.number, (uint16_t)value);
	else
		mcplc_memory_set_dword(memory, point.device, point.number, value);
	return MCPLC_OK;
}

static uint16_t write_entries(struct mcplc_job *job, uint32_t first, uint32_t second,
			      enum mcplc_unit unit, bool apply)
{
	uint16_t error = MCPLC_OK;

	for (uint32_t i = 0; !error && i < first; i++)
		error = write_entry(job, unit, apply);
	for (uint32_t i = 0; !error && i < second; i++)
		error = write_entry(job, MCPLC_DWORDS, apply);
	return error ? error : mcplc_request_finished(&job->reader);
}

uint16_t mcplc_access_random_write(struct mcplc_job *job)
{
	enum mcplc_unit unit = bit_units(job) ? MCPLC_BITS : MCPLC_WORDS;
	uint32_t first = mc_reader_number(&job->reader, 1);
	uint32_t second = unit == MCPLC_WORDS ? mc_reader_number(&job->reader, 1) : 0;
	struct mc_reader entries = job->reader;
	uint16_t error;

	if (job->reader.error)
		return mcplc_request_finished(&job->reader);
	if (unit == MCPLC_BITS && (first < 1 || first > limit(job, RANDOM_BITS_MAX)))
		return MCPLC_POINTS_RANDOM_BITS;
	if (unit == MCPLC_WORDS &&
	    (first + second < 1 || first * RANDOM_WEIGHT_WORD + second * RANDOM_WEIGHT_DWORD >
					   limit(job, RANDOM_WEIGHT_MAX)))
		return MCPLC_POINTS_RANDOM;
	error = write_entries(job, first, second, unit, false);
	if (error)
		return error;
	job->reader = entries;
	return write_entries(job, first, second, unit, true);
}

/* --- blocks ---------------------------------------------------------------------------------- */

/* What is done with each block once its head is read and checked. */
enum block_step {
	BLOCK_READ,
	BLOCK_CHECK, /* of a write: skip the values */
	BLOCK_WRITE,
};

static uint16_t run_block(struct mcplc_job *job, bool bits, enum block_step step, uint32_t *total)
{
	struct mcplc_point head;
	uint16_t error = read_device(job, &head);
	uint32_t points = mc_reader_number(&job->reader, 2);

	if (error || job->reader.error)
		return mcplc_request_finished(&job->reader);
	*total += points;
	if (points < 1 || *total > WORDS_MAX)
		return MCPLC_POINTS_WORDS;
	if (step != BLOCK_WRITE)
		error = check_range(job, head.device, head.number, points, MCPLC_WORDS);
	if (error)
		return error;
	if ((head.device->kind == MC_DEVICE_BIT) != bits)
		return MCPLC_CONTENT;
	if (step == BLOCK_READ)
		put_words(job, &head, points);
	else
		take_words(job, &head, points, step == BLOCK_WRITE);
	return MCPLC_OK;
}

static uint16_t run_blocks(struct mcplc_job *job, enum block_step step)
{
	uint32_t words = mc_reader_number(&job->reader, 1);
	uint32_t bits = mc_reader_number(&job->reader, 1);
	uint32_t total = 0;

	if (job->reader.error)
		return mcplc_request_finished(&job->reader);
	if (words + bits < 1 || words + bits > limit(job, BLOCKS_MAX))
		return MCPLC_POINTS_RANDOM;
	for (uint32_t i = 0; i < words + bits; i++) {
		uint16_t error = run_block(job, i >= words, step, &total);

		if (error)
			return error;
	}
	return mcplc_request_finished(&job->reader);
}

uint16_t mcplc_access_block_read(struct mcplc_job *job)
{
	return run_blocks(job, BLOCK_READ);
}

uint16_t mcplc_access_block_write(struct mcplc_job *job)
{
	struct mc_reader start = job->reader;
	uint16_t error = run_blocks(job, BLOCK_CHECK);

	if (error)
		return error;
	job->reader = start;
	return run_blocks(job, BLOCK_WRITE);
}

/* --- monitor --------------------------------------------------------------------------------- */

uint16_t mcplc_access_monitor_register(struct mcplc_job *job)
{
	struct mcplc_monitor list;
	uint16_t error = read_list(job, &list);

	if (!error)
		job->cpu->monitor = list;
	return error;
}

uint16_t mcplc_access_monitor(struct mcplc_job *job)
{
	uint16_t error = mcplc_request_finished(&job->reader);

	if (error)
		return error;
	if (!job->cpu->monitor.words && !job->cpu->monitor.dwords)
		return MCPLC_NO_MONITOR;
	put_list(job, &job->cpu->monitor);
	return MCPLC_OK;
}
