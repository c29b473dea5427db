/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any sequence of records against ktls_control.c, over the fake kernel of the unit tests: it comes
 * to an end, changes keys only for a KeyUpdate, sends nothing but what it owes, and after a
 * refusal nothing at all.
 *
 * Input: a byte of circumstances, then records: content type, size, bytes.
 */
#define FAKE_KTLS(name) name

#include "tls/ktls_control.h"
#include "tls/record_control.h"

#include "../unit/fake_ktls.h"

#include <assert.h>

#define TX 1 /* TLS_TX */
#define RX 2 /* TLS_RX */

enum circumstance {
	CLIENT = 1,
	TLS_1_3 = 2,
	CAN_REKEY = 4,
	NO_ROOM = 8, /* to send */
	AT_END = 16, /* the stream ends behind the records */
};

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static struct ktls_control *start(uint8_t circumstances)
{
	struct traffic_pair pair = {.client = circumstances & CLIENT};
	struct ktls_control *control = NULL;
	bool installed;

	fake_reset();
	fake.old = !(circumstances & CAN_REKEY);
	fake.end = circumstances & AT_END ? 0 : EAGAIN;
	for (int i = 0; i < TRAFFIC_DIRECTIONS; i++) {
		pair.keys[i].version = circumstances & TLS_1_3 ? TRAFFIC_TLS_1_3 : TRAFFIC_TLS_1_2;
		pair.secrets[i].size = 32;
	}
	assert(ktls_control_new(7, &pair, circumstances & CAN_REKEY, &installed, &control) == 0);
	fake.send_error = circumstances & NO_ROOM ? EAGAIN : 0;
	return control;
}

static void queue(const uint8_t *bytes, size_t size)
{
	for (size_t at = 0; at + 2 <= size && fake.in_count < FAKE_RECORDS;) {
		size_t record = bytes[at + 1];

		record = record < size - at - 2 ? record : size - at - 2;
		fake_receive(bytes[at], bytes + at + 2, record);
		at += 2 + record;
	}
}

/* Whatever was refused or lost: not a byte leaves any more. */
static void check_silence(struct ktls_control *control)
{
	size_t sent = fake.out_count;

	fake.send_error = 0;
	assert(!ktls_control_update_due(control));
	assert(ktls_control_update(control) == 0);
	assert(ktls_control_say_closed(control) == 0);
	ktls_control_alert(control, 80);
	assert(fake.out_count == sent);
	assert(ktls_control_reason(control)[0] != '\0');
}

static void check_answer(struct ktls_control *control)
{
	bool due = ktls_control_update_due(control);
	size_t sent = fake.out_count;
	int error = ktls_control_update(control);

	if (fake.send_error != 0 && due) {
		assert(error == -EAGAIN && fake.out_count == sent);
		return;
	}
	assert(error == 0 && fake.out_count == sent + due);
	assert(!ktls_control_update_due(control));
}

static size_t count_sent(uint8_t type)
{
	size_t count = 0;

	for (size_t i = 0; i < fake.out_count && i < FAKE_RECORDS; i++)
		count += fake.out[i].type == type;
	return count;
}

/* Goes on behind data as a leg would, until the queue is empty or it is over. */
static int run(struct ktls_control *control)
{
	int result = 0;

	while (result == 0) {
		size_t before = fake.in_at;

		result = ktls_control_receive(control, 1000 * CLOCK_SEC);
		if (result != 0)
			break;
		check_answer(control);
		if (fake.in_at == fake.in_count)
			break;
		assert(fake.in[fake.in_at].type == RECORD_DATA);
		fake.in_at++;
		assert(fake.in_at > before);
	}
	return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
	struct ktls_control *control;
	int result;

	if (size == 0)
		return 0;
	control = start(bytes[0]);
	queue(bytes + 1, size - 1);
	result = run(control);
	assert(fake.installs[RX] <= 1 + RECORD_UPDATES_BURST);
	assert(fake.installs[TX] == 1 + count_sent(RECORD_HANDSHAKE));
	if (!(bytes[0] & TLS_1_3) || !(bytes[0] & CAN_REKEY))
		assert(fake.installs[RX] == 1 && fake.installs[TX] == 1);
	assert(count_sent(RECORD_ALERT) <= 1 && count_sent(RECORD_DATA) == 0);
	if (result < 0)
		check_silence(control);
	else
		assert(count_sent(RECORD_ALERT) == 0);
	assert(result <= 0 || result == KTLS_CONTROL_CLOSED || result == KTLS_CONTROL_END);
	ktls_control_free(control);
	return 0;
}
