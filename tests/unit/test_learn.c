/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies from audit lines: what was seen passes by them, and nothing else does, as policy/ itself
 * judges; and what a person is told to look at.
 */
#include "config_fixture.h"
#include "ctl/learn.h"
#include "ctl/point_set.h"
#include "mc_vectors.h"
#include "policy/policy.h"

#include <stdio.h>

/* --- points --------------------------------------------------------------------------------- */

static void add(struct point_set *set, const char *first, const char *last)
{
	struct point_range range;

	assert_int_equal(mc_device_parse(first, &range.device, &range.first), 0);
	assert_int_equal(mc_device_parse(last, &range.device, &range.last), 0);
	assert_int_equal(point_set_add(set, &range), 0);
}

static void expect_set(const struct point_set *set, const char *text)
{
	char shown[256] = "", first[MC_DEVICE_TEXT_SIZE], last[MC_DEVICE_TEXT_SIZE];

	for (size_t i = 0; i < set->count; i++)
		snprintf(shown + strlen(shown), sizeof(shown) - strlen(shown), "%s-%s ",
			 mc_device_print(set->ranges[i].device, set->ranges[i].first, first),
			 mc_device_print(set->ranges[i].device, set->ranges[i].last, last));
	assert_string_equal(shown, text);
}

static void points_are_merged(void **state)
{
	struct point_set set = {.ranges = NULL}, other = {.ranges = NULL};

	(void)state;
	add(&set, "D100", "D109");
	add(&set, "D120", "D129");
	expect_set(&set, "D100-D109 D120-D129 ");
	add(&set, "D111", "D118");
	expect_set(&set, "D100-D109 D111-D118 D120-D129 "); /* a gap of one */
	add(&set, "D105", "D106");
	expect_set(&set, "D100-D109 D111-D118 D120-D129 ");
	add(&set, "D110", "D110"); /* touches both */
	expect_set(&set, "D100-D118 D120-D129 ");
	add(&set, "D0", "D99");
	add(&set, "D130", "D4294967295");
	expect_set(&set, "D0-D118 D120-D4294967295 ");
	add(&set, "D50", "D4294967295");
	expect_set(&set, "D0-D4294967295 ");
	add(&set, "W0", "W0"); /* the next device's first touches nothing */
	add(&set, "M4294967295", "M4294967295");
	expect_set(&set, "M4294967295-M4294967295 D0-D4294967295 W0-W0 ");
	add(&other, "D0", "D4294967295");
	assert_false(point_set_equal(&set, &other));
	add(&other, "M4294967295", "M4294967295");
	add(&other, "W0", "W1");
	assert_false(point_set_equal(&set, &other));
	add(&set, "W1", "W1");
	assert_true(point_set_equal(&set, &other));
	point_set_deinit(&set);
	point_set_deinit(&other);
}

/* Against a map of single points, whatever the order. */
static void points_at_random(void **state)
{
	struct point_set set = {.ranges = NULL};
	bool map[1024] = {false};
	unsigned int seed = 1;

	(void)state;
	for (int i = 0; i < 400; i++) {
		struct point_range range = {.device = mc_device_by_name("D")};
		size_t covered = 0;

		range.first = (uint32_t)rand_r(&seed) % 1000;
		range.last = range.first + (uint32_t)rand_r(&seed) % 4;
		assert_int_equal(point_set_add(&set, &range), 0);
		for (uint32_t n = range.first; n <= range.last; n++)
			map[n] = true;
		for (size_t j = 0; j < set.count; j++) {
			for (uint32_t n = set.ranges[j].first; n <= set.ranges[j].last; n++)
				assert_true(map[n]);
			covered += set.ranges[j].last - set.ranges[j].first + 1;
			/* Minimal: in order, with a gap between any two. */
			if (j > 0)
				assert_true(set.ranges[j - 1].last + 1 < set.ranges[j].first);
		}
		for (size_t n = 0; n < ARRAY_SIZE(map); n++)
			covered -= map[n];
		assert_int_equal(covered, 0);
	}
	point_set_deinit(&set);
}

/* --- from requests to policies -------------------------------------------------------------- */

static struct learn *learn_text(const char *text, bool with_refused)
{
	struct learn *learn;
	FILE *file = fmemopen((void *)(uintptr_t)text, strlen(text), "r");

	assert_non_null(file);
	assert_int_equal(learn_new(with_refused, &learn), 0);
	assert_int_equal(learn_read(learn, file), 0);
	fclose(file);
	return learn;
}

/* What is printed for these lines; to be freed. */
static char *learned(const char *text, bool with_refused)
{
	struct learn *learn = learn_text(text, with_refused);
	char *out = NULL;
	size_t size;
	FILE *file = open_memstream(&out, &size);

	learn_print(learn, file);
	fclose(file);
	learn_free(learn);
	return out;
}

static struct outcome load_learned(const char *policies)
{
	char *whole;
	struct outcome outcome;

	assert_true(asprintf(&whole, "%s%s", VALID, policies) >= 0);
	outcome = load_valid(whole);
	free(whole);
	return outcome;
}

struct sample {
	const char *name;
	uint8_t bytes[MC_VECTOR_SIZE];
	struct mc_request request;
	struct mc_access access;
	struct mc_range ranges[32];
	size_t range_count;
	bool is_own;
};

static void keep(void *context, const struct mc_range *range)
{
	struct sample *sample = context;

	assert_true(sample->range_count < ARRAY_SIZE(sample->ranges));
	sample->ranges[sample->range_count++] = *range;
}

static void look_at(struct sample *sample, const char *name, size_t size)
{
	sample->name = name;
	sample->range_count = 0;
	assert_int_equal(mc_frame_parse_request(sample->bytes, size, &sample->request), 0);
	mc_access_read(&sample->request, keep, sample, &sample->access);
	sample->is_own = mc_access_is_own(sample->request.family, &sample->request.route);
}

/* The line that a gateway writes. */
static void tell(FILE *file, const struct sample *sample)
{
	const struct mc_request *request = &sample->request;
	char route[MC_ROUTE_TEXT_SIZE], first[MC_DEVICE_TEXT_SIZE], last[MC_DEVICE_TEXT_SIZE];

	fprintf(file, "info request request=1 identity=ana plc=p frame=%s ",
		mc_frame_family_name(request->family));
	if (request->family == MC_FAMILY_1E)
		fprintf(file, "pc=%02X command=%02X", request->route.pc, request->command);
	else
		fprintf(file, "route=%s command=%04X subcommand=%04X",
			mc_frame_route_print(&request->route, route), request->command,
			request->subcommand);
	fprintf(file, " class=%s", mc_command_class_name(sample->access.class));
	for (size_t i = 0; i < sample->range_count; i++) {
		const struct mc_range *range = &sample->ranges[i];

		fprintf(file, "%s%s-%s", i == 0 ? " points=" : ",",
			mc_device_print(range->device, range->first, first),
			mc_device_print(range->device, range->last, last));
	}
	fprintf(file, "\n");
}

static struct outcome learn_samples(const struct sample *samples, size_t count)
{
	char *lines = NULL, *policies;
	size_t size;
	FILE *file = open_memstream(&lines, &size);
	struct outcome outcome;

	for (size_t i = 0; i < count; i++)
		tell(file, &samples[i]);
	fclose(file);
	policies = learned(lines, false);
	outcome = load_learned(policies);
	assert_int_equal(outcome.config->policy_count, 1);
	free(policies);
	free(lines);
	return outcome;
}

static bool passes(const struct outcome *outcome, const struct sample *sample)
{
	struct policy_verdict verdict;

	policy_judge(&outcome->config->policies[0], &sample->request, &verdict);
	return verdict.rule == POLICY_RULE_NONE;
}

static bool covers_point(const struct sample *samples, size_t count, const struct mc_range *range,
			 uint32_t number)
{
	for (size_t i = 0; i < count; i++) {
		for (size_t j = 0; j < samples[i].range_count; j++) {
			const struct mc_range *seen = &samples[i].ranges[j];

			if (seen->device == range->device && seen->write == range->write &&
			    seen->first <= number && seen->last >= number)
				return true;
		}
	}
	return false;
}

/* May a policy that allows exactly `samples` allow this one? Point by point, without policy/. */
static bool was_seen(const struct sample *samples, size_t count, const struct sample *sample)
{
	bool own = true, route = false, command = false;

	for (size_t i = 0; i < count; i++) {
		const struct mc_request *seen = &samples[i].request;

		own = own && samples[i].is_own;
		route = route ||
			(sample->request.family == MC_FAMILY_1E
				 ? seen->route.pc == sample->request.route.pc
				 : mc_frame_route_equal(&seen->route, &sample->request.route));
		command = command ||
			  (seen->command == sample->request.command && samples[i].range_count == 0);
	}
	if (own ? !sample->is_own : !route)
		return false;
	for (size_t i = 0; i < sample->range_count; i++)
		for (uint64_t n = sample->ranges[i].first; n <= sample->ranges[i].last; n++)
			if (!covers_point(samples, count, &sample->ranges[i], (uint32_t)n))
				return false;
	return sample->range_count > 0 || command;
}

static size_t read_vectors(struct sample *samples)
{
	size_t count = 0;

	for (size_t i = 0; i < MC_VECTOR_COUNT; i++) {
		const struct mc_vector *vector = &MC_VECTORS[i];
		struct sample *sample = &samples[count];

		look_at(sample, vector->name,
			mc_vector_bytes(vector->code, vector->request, sample->bytes));
		count += sample->access.rule == MC_RULE_NONE; /* others never pass */
	}
	return count;
}

/* Of other people's requests each is learned alone, and every other one is tried against it. */
static void each_request_alone(void **state)
{
	struct sample samples[MC_VECTOR_COUNT];
	size_t count = read_vectors(samples);
	unsigned int passed = 0, refused = 0;

	(void)state;
	assert_true(count > 30);
	for (size_t i = 0; i < count; i++) {
		struct outcome outcome = learn_samples(&samples[i], 1);

		assert_true(passes(&outcome, &samples[i]));
		for (size_t j = 0; j < count; j++) {
			bool expected = was_seen(&samples[i], 1, &samples[j]);

			if (passes(&outcome, &samples[j]) != expected)
				fail_msg("after \"%s\": \"%s\"", samples[i].name, samples[j].name);
			passed += expected;
			refused += !expected;
		}
		drop(&outcome);
	}
	assert_true(passed > count && refused > 10 * count);
}

static void all_requests_together(void **state)
{
	struct sample samples[MC_VECTOR_COUNT];
	size_t count = read_vectors(samples);
	struct outcome outcome = learn_samples(samples, count);

	(void)state;
	for (size_t i = 0; i < count; i++)
		if (!passes(&outcome, &samples[i]))
			fail_msg("%s", samples[i].name);
	drop(&outcome);
}

/* Batch reads and writes of a few points, for two stations, seen and not seen. */
static void make_at_random(struct sample *sample, unsigned int *seed)
{
	static const uint8_t codes[] = {0xa8, 0x90, 0x9c, 0xa9}; /* D, M, X, SD */
	bool write = rand_r(seed) % 2;
	uint8_t points = (uint8_t)(1 + rand_r(seed) % 3);
	uint8_t data[] = {(uint8_t)(rand_r(seed) % 100),
			  0,
			  0,
			  codes[rand_r(seed) % 4],
			  points,
			  0,
			  0,
			  0,
			  0,
			  0,
			  0,
			  0};
	const struct mc_request request = {
		.family = MC_FAMILY_3E,
		.code = MC_CODE_BINARY,
		.route = {.pc = 0xff, .module = 0x03ff, .station = rand_r(seed) % 20 == 0},
		.command = write ? 0x1401 : 0x0401,
		.data = data,
		.data_size = 6 + (write ? 2 * (size_t)points : 0),
	};
	size_t size = mc_frame_put_request(&request, sample->bytes, sizeof(sample->bytes));

	assert_true(size > 0);
	look_at(sample, "random", size);
	assert_int_equal(sample->access.rule, MC_RULE_NONE);
}

static void requests_at_random(void **state)
{
	static struct sample seen[60], tried;
	unsigned int seed = 7, passed = 0, refused = 0;

	(void)state;
	for (size_t count = 1; count <= ARRAY_SIZE(seen); count += 7) {
		struct outcome outcome;

		for (size_t i = 0; i < count; i++)
			make_at_random(&seen[i], &seed);
		outcome = learn_samples(seen, count);
		for (size_t i = 0; i < count; i++)
			assert_true(passes(&outcome, &seen[i]));
		for (int i = 0; i < 400; i++) {
			bool expected;

			make_at_random(&tried, &seed);
			expected = was_seen(seen, count, &tried);
			assert_int_equal(passes(&outcome, &tried), expected);
			passed += expected;
			refused += !expected;
		}
		drop(&outcome);
	}
	assert_true(passed > 100 && refused > 100);
}

/* --- the text ------------------------------------------------------------------------------- */

#define LINE(who, where, what)                                                                     \
	"info request request=1 identity=" who " plc=" where " frame=3E route=00-FF-03FF-00 " what \
	"\n"
#define READ(points)  "command=0401 subcommand=0000 class=read points=" points
#define WRITE(points) "command=1401 subcommand=0000 class=write points=" points
#define STOP          "command=1002 subcommand=0000 class=control"
#define HEADER(lines)                                                                              \
	"# Learned by mcseal from audit lines: " lines ". Read it before you use it.\n"

static void expect_text(const char *lines, bool with_refused, const char *text)
{
	char *out = learned(lines, with_refused);
	struct outcome outcome = load_learned(out);

	assert_string_equal(out, text);
	drop(&outcome);
	free(out);
}

static void same_policies_are_one(void **state)
{
	(void)state;
	expect_text(LINE("bob", "p2", READ("D5-D9")) LINE("ana", "p1", READ("D0-D4"))
			    LINE("ana", "p1", READ("D5-D9")) LINE("ana", "p2", READ("D5-D9"))
				    LINE("ana", "p1", WRITE("M3-M3")),
		    false,
		    HEADER("5") "\n"
				"# ana at p1; lines: 3\n"
				"policy \"learned-1\" {\n"
				"\tread = { \"D0-D9\" }\n"
				"\twrite = { \"M3\" }\n"
				"}\n\n"
				"# ana at p2; lines: 1\n"
				"# bob at p2; lines: 1\n"
				"policy \"learned-2\" {\n"
				"\tread = { \"D5-D9\" }\n"
				"}\n\n"
				"# In the sections of these identities:\n"
				"# identity \"ana\": policy = { \"p1=learned-1\", "
				"\"p2=learned-2\" }\n"
				"# identity \"bob\": policy = { \"p2=learned-2\" }\n");
}

#define ELSEWHERE(who, what)                                                                       \
	"info request request=1 identity=" who " plc=p frame=3E route=01-FF-03FF-00 " what "\n"

static unsigned int policies_of(const char *lines)
{
	char *out = learned(lines, false);
	unsigned int policies = count(out, "\npolicy \"learned-");

	free(out);
	return policies;
}

/* Of two identities: one policy, unless anything that it allows is another's alone. */
static void different_policies_stay_two(void **state)
{
	(void)state;
	assert_int_equal(policies_of(LINE("a", "p", READ("D1-D2")) LINE("b", "p", READ("D1-D2"))),
			 1);
	assert_int_equal(policies_of(LINE("a", "p", READ("D1-D2")) LINE("b", "p", READ("D1-D3"))),
			 2);
	assert_int_equal(policies_of(LINE("a", "p", READ("D1-D2")) LINE("b", "p", WRITE("D1-D2"))),
			 2);
	assert_int_equal(policies_of(LINE("a", "p", READ("D1-D2")) LINE("b", "p", READ("D1-D2"))
					     LINE("b", "p", STOP)),
			 2);
	assert_int_equal(policies_of(LINE("a", "p", READ("D1-D2")) LINE("a", "p", STOP)
					     LINE("b", "p", READ("D1-D2")) LINE("b", "p", STOP)),
			 1);
	assert_int_equal(policies_of(LINE("a", "p", READ("D1-D2")) ELSEWHERE("b", READ("D1-D2"))),
			 2);
	assert_int_equal(policies_of(ELSEWHERE("a", READ("D1-D2")) ELSEWHERE("b", READ("D1-D2"))),
			 1);
	assert_int_equal(policies_of(ELSEWHERE("a", READ("D1-D2")) ELSEWHERE("b", READ("D1-D2"))
					     LINE("b", "p", READ("D1-D2"))),
			 2);
	assert_int_equal(
		policies_of(ELSEWHERE("a", READ("D1-D2")) ELSEWHERE(
			"b", READ("D1-D2")) "info request request=1 identity=b plc=p frame=3E "
					    "route=02-FF-03FF-00 " READ("D1-D2")),
		2);
}

static void what_a_person_should_look_at(void **state)
{
	(void)state;
	expect_text(
		"Jan 31 12:00:00 gw systemd[1]: Started mcseald.service.\n"
		"info ready workers=2\n"
		"info request request=1 cut\n" LINE("ana", "p", STOP) LINE("ana", "p", STOP) LINE(
			"ana", "p", "command=1630 subcommand=0000 class=security")
			LINE("ana", "p", "command=1203 subcommand=0000 class=file-write") LINE(
				"ana", "p", "command=0206 subcommand=0000 class=file-read")
				LINE("ana", "p",
				     "command=1402 subcommand=0000 class=control "
				     "points=SM400-SM400,D0-D0 more-points=2")
					LINE("ana", "p", "command=3333 subcommand=0000 class=other")
						LINE("ana", "p",
						     "command=0401 subcommand=0082 class=read")
							LINE("ana", "p",
							     "command=0401 subcommand=0000 "
							     "class=read"),
		false,
		HEADER("9") "# LOOK: audit lines that could not be understood: 1\n\n"
			    "# ana at p; lines: 9\n"
			    "# LOOK: 1002 (remote STOP), class control; lines: 2\n"
			    "# LOOK: 1203 (file write), class file-write; lines: 1\n"
			    "# LOOK: 1402 (random write of special relays or registers), class "
			    "control; lines: 1\n"
			    "# LOOK: 1630 (remote password unlock), class security; lines: 1\n"
			    "# LOOK: 3333 (unknown to mcseal), class other; lines: 1\n"
			    "# LOOK: requests with more points than their lines tell; those are "
			    "missing here: 1\n"
			    "# LOOK: requests whose points their lines do not tell; those are "
			    "missing here: 1\n"
			    "# LOOK: requests with a subcommand that no list of points can allow; "
			    "not here: 1\n"
			    "policy \"learned-1\" {\n"
			    "\twrite = { \"SM400\", \"D0\" }\n"
			    "\tcommands = { \"0206\", \"1002\", \"1203\", \"1630\", \"3333\" }\n"
			    "}\n\n"
			    "# In the sections of these identities:\n"
			    "# identity \"ana\": policy = { \"p=learned-1\" }\n");
}

#define REFUSED(rule, what)                                                                        \
	"warning request-refused rule=" rule                                                       \
	" identity=ana plc=p frame=3E route=00-FF-03FF-00 " what " end-code=C059\n"
#define OBSERVED(rule, what)                                                                       \
	"warning request-observed rule=" rule                                                      \
	" identity=ana plc=p frame=3E route=00-FF-03FF-00 " what "\n"
#define NO_READS                                                                                   \
	"# LOOK: no line tells of a read that passed. Unless the gateway has audit { reads = yes " \
	"},\n#       what was read is not here.\n"
#define NO_OTHERS                                                                                  \
	"# LOOK: no line tells of anything else that passed. Unless the gateway has log_level = "  \
	"info,\n#       only the first points of each request are here.\n"
#define REFUSALS                                                                                   \
	REFUSED("write", WRITE("D1-D1"))                                                           \
	REFUSED("busy", WRITE("D7-D7"))                                                            \
	REFUSED("length", "command=1401 subcommand=0000 class=write")                              \
	OBSERVED("shape", "command=1401 subcommand=0000 class=write")                              \
	OBSERVED("read", READ("D3-D3"))

static void refused_ones(void **state)
{
	(void)state;
	expect_text(REFUSALS, false,
		    HEADER("5") NO_READS NO_OTHERS
		    "\n# ana at p; lines: 5\n"
		    "# LOOK: requests that contradict themselves; no policy lets them pass: 1\n"
		    "# LOOK: requests that were refused; not here, --refused adds them: 3\n"
		    "policy \"learned-1\" {\n"
		    "\tread = { \"D3\" }\n"
		    "}\n\n"
		    "# In the sections of these identities:\n"
		    "# identity \"ana\": policy = { \"p=learned-1\" }\n");
	expect_text(REFUSALS, true,
		    HEADER("5") NO_READS NO_OTHERS
		    "\n# ana at p; lines: 5\n"
		    "# LOOK: requests that contradict themselves; no policy lets them pass: 2\n"
		    "# LOOK: requests refused for the moment (budget, busy, password, audit); not "
		    "here: 1\n"
		    "policy \"learned-1\" {\n"
		    "\tread = { \"D3\" }\n"
		    "\twrite = { \"D1\" }\n"
		    "}\n\n"
		    "# In the sections of these identities:\n"
		    "# identity \"ana\": policy = { \"p=learned-1\" }\n");
}

#define UNTOLD "# LOOK: requests whose points their lines do not tell; those are missing here: "

/* An observed line may have no points; the line of the same request that passed has them. */
static void observed_ones(void **state)
{
	static const char observed[] = OBSERVED("route", "command=0401 subcommand=0000 class=read")
		OBSERVED("route", "command=1401 subcommand=0000 class=write");
	static const char told[] = OBSERVED("route", "command=0401 subcommand=0000 class=read")
		LINE("ana", "p", READ("D1-D2")) LINE("ana", "p", WRITE("D1-D2"))
			OBSERVED("route", "command=1401 subcommand=0000 class=write");
	char *out = learned(observed, false);

	(void)state;
	assert_non_null(strstr(out, UNTOLD "2\n"));
	assert_non_null(strstr(out, "no line tells of a read that passed"));
	assert_non_null(strstr(out, "no line tells of anything else that passed"));
	free(out);
	out = learned(told, false);
	assert_null(strstr(out, "LOOK"));
	free(out);
}

static void nothing_to_allow(void **state)
{
	char *out = learned(REFUSED("write", WRITE("D1-D1")), false);
	struct outcome outcome = load_learned(out);

	(void)state;
	assert_non_null(strstr(out, "# LOOK: nothing is left to allow; this refuses every "
				    "request\npolicy \"learned-1\" {\n}\n"));
	assert_non_null(strstr(outcome.report, "allows nothing: every request is refused"));
	drop(&outcome);
	free(out);
}

static void other_stations(void **state)
{
	(void)state;
	expect_text(LINE("ana", "p", READ("D0-D4")) "info request request=1 identity=ana plc=p "
						    "frame=1E pc=05 command=01 class=read "
						    "points=D0-D0\n"
						    "info request request=1 identity=ana plc=p "
						    "frame=4E route=01-02-03FF-00 command=0101 "
						    "subcommand=0000 class=read\n"
						    "info request request=1 identity=ana plc=p "
						    "frame=1E pc=FF command=13 class=control\n",
		    false,
		    HEADER("4") "\n"
				"# ana at p; lines: 4\n"
				"# LOOK: 13 (remote RUN), class control; lines: 1\n"
				"policy \"learned-1\" {\n"
				"\tread = { \"D0-D4\" }\n"
				"\tcommands = { \"0101\", \"13\" }\n"
				"\troutes = { \"00-05-03FF-00\", \"00-FF-03FF-00\", "
				"\"01-02-03FF-00\" }\n"
				"}\n\n"
				"# In the sections of these identities:\n"
				"# identity \"ana\": policy = { \"p=learned-1\" }\n");
}

/* Every second point of a device: nothing to merge. Lines stay lines, and all of it loads. */
static void many_ranges(void **state)
{
	char *lines = NULL, *out;
	size_t size;
	FILE *file = open_memstream(&lines, &size);
	struct outcome outcome;

	(void)state;
	for (int i = 5000; i > 0; i--)
		fprintf(file, LINE("ana", "p", READ("D%d-D%d")), 2 * i, 2 * i);
	fclose(file);
	out = learned(lines, false);
	outcome = load_learned(out);
	assert_int_equal(outcome.config->policies[0].read_count, 5000);
	for (const char *line = out; *line != '\0'; line += strcspn(line, "\n") + 1)
		assert_true(strcspn(line, "\n") < 100);
	drop(&outcome);
	free(out);
	free(lines);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(points_are_merged),
		cmocka_unit_test(points_at_random),
		cmocka_unit_test(each_request_alone),
		cmocka_unit_test(all_requests_together),
		cmocka_unit_test(requests_at_random),
		cmocka_unit_test(same_policies_are_one),
		cmocka_unit_test(different_policies_stay_two),
		cmocka_unit_test(what_a_person_should_look_at),
		cmocka_unit_test(refused_ones),
		cmocka_unit_test(observed_ones),
		cmocka_unit_test(nothing_to_allow),
		cmocka_unit_test(other_stations),
		cmocka_unit_test(many_ranges),
	};

	return cmocka_run_group_tests(tests, make_files, remove_files);
}
