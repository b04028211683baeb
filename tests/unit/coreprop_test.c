/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * The engine's core in a world of chance: ports, machines and policies
 * change, machines refuse, and what the other processes say is under way for
 * a while, in order on each channel, in any order between channels.  When
 * all has come to rest, each device must be where the policy wants it, or out
 * for a reason that holds, and a core that is told the same things for the
 * first time must have nothing to do.
 *
 * A round depends on its seed alone: USBMGRD_SEED runs the one that failed.
 */

#include <sys/random.h>
#include "core_world.h"

#define ROUNDS 2000
#define STEPS_MAX 120
#define TRIES_MAX 5 /* after which a machine that refuses is left alone */

/* What must hold then. */

static const struct chance_rule *
deciding_rule(size_t place)
{
	const struct chance_rule *r, *last = NULL;

	for (r = world.rules; r < world.rules + world.nrules; r++)
		if ((r->port == -1 || r->port == (int)place) &&
		    (r->product == -1 ||
			r->product == world.places[place].product))
			last = r;
	return last;
}

/* Of the machines of the rule the first that is up; 0 if none is. */
static uint32_t
first_up(const struct chance_rule *r)
{
	int i;

	for (i = 0; i < r->nvms; i++)
		if (world.machines[r->vms[i] - 1].connected)
			return (uint32_t)r->vms[i];
	return 0;
}

static int
is_passed(size_t place)
{
	const struct place *p = &world.places[place];
	const struct chance_rule *r = deciding_rule(place);

	return r != NULL && r->nvms > 0 && p->dev.class.class == 0 &&
	       !p->dev.odd_descriptors && p->dev.netif[0] == '\0' &&
	       p->dev.busy[0] == '\0' && first_up(r) != 0;
}

/* A device that was refused must have been refused for a lasting reason. */
static int
is_refused(size_t place, const char *reason)
{
	uint32_t vm = first_up(deciding_rule(place));

	return (world.places[place].conflicts > TRIES_MAX &&
		   strstr(reason, "refused by QEMU") != NULL) ||
	       (refuses(vm, &world.places[place]) &&
		   strstr(reason, "speed") != NULL) ||
	       (is_full(vm) && strstr(reason, "no free guest port") != NULL);
}

/* The machine that has it, by its own word; 0 if none has. */
static uint32_t
whose(const struct place *p, uint32_t *request)
{
	struct inside *in;
	uint32_t vm, found = 0;

	for (vm = 1; vm <= NVMS; vm++)
		if ((in = inside_find(&world.machines[vm - 1], p->dev.port,
			 p->dev.devnum)) != NULL) {
			assert_int_equal(found, 0);
			found = vm;
			*request = in->request;
		}
	return found;
}

static void
check_place(size_t place)
{
	const struct place *p = &world.places[place];
	const struct chance_rule *r = deciding_rule(place);
	struct looked l = look(ports[place]);
	uint32_t vm, request = 0;
	int i, allowed = 0;

	trace("%s is %s\n", ports[place], l.text);
	assert_int_equal(l.text[0] != '\0', p->plugged);
	if (!p->plugged)
		return;
	vm = whose(p, &request);
	assert_int_equal(l.device.state == DEV_ATTACHED, vm != 0);
	if (vm != 0) {
		assert_true(is_passed(place));
		for (i = 0; i < r->nvms; i++)
			allowed |= r->vms[i] == (int)vm;
		assert_true(allowed);
		assert_int_equal(l.device.request, request);
		assert_int_equal(vm_number(l.device.vm), vm);
		return;
	}
	assert_true(l.device.reason[0] != '\0');
	if (l.device.state == DEV_FAILED)
		assert_true(
		    is_passed(place) && is_refused(place, l.device.reason));
	else if (is_passed(place))
		assert_true(p->dropped);
}

/* Nothing is in a machine that is not plugged. */
static void
check_machine(const struct machine *m)
{
	struct ask ask;
	size_t i;

	for (i = 0; i < m->n; i++) {
		ask.devnum = m->in[i].devnum;
		ask.port = m->in[i].port;
		assert_non_null(place_of(&ask));
	}
}

/* A core that knows nothing of what was has nothing to do. */
static void
check_fresh(void)
{
	struct core_event ev = { .type = EV_POLICY };
	char before[COUNT(ports)][512];
	struct looked l;
	size_t i;

	for (i = 0; i < COUNT(ports); i++) {
		l = look(ports[i]);
		strlcpy(before[i], l.text, sizeof(before[i]));
		if (l.device.state == DEV_FAILED || world.places[i].dropped)
			before[i][0] = '\0';
	}
	world.old = bed.core;
	assert_non_null(bed.core = core_new());
	world.nviews = 0;
	bed.last_request = 0;
	trace("fresh\n");
	ev.u.policy = world_policy(rule_texts);
	tell_core(&ev);
	for (i = 0; i < NVMS; i++)
		if (world.machines[i].connected)
			machine_connect((uint32_t)i + 1);
		else
			machine_absent((uint32_t)i + 1);
	while (deliver(&world.qmpclient))
		;
	for (i = 0; i < COUNT(ports); i++)
		if (world.places[i].plugged)
			world_say(&world.places[i]);
	news_add(&world.monitor, EV_SCAN_DONE);
	while (deliver(&world.monitor))
		;
	for (i = 0; i < bed.nasks; i++)
		assert_false(bed.asks[i].detach);
	for (i = 0; i < COUNT(ports); i++)
		if (before[i][0] != '\0' && strstr(before[i], "lost") == NULL)
			is(ports[i], before[i]);
	core_free(world.old);
	world.old = NULL;
}

static void
run_round(uint64_t seed)
{
	unsigned int n;
	size_t i;

	memset(&world, 0, sizeof(world));
	world.seed = seed;
	world.random = seed * 0x9e3779b97f4a7c15ULL | 1;
	world_restart();
	for (n = chance(STEPS_MAX); n > 0; n--)
		chance_step();
	world_come_to_rest();
	for (i = 0; i < COUNT(ports); i++)
		check_place(i);
	for (i = 0; i < NVMS; i++)
		check_machine(&world.machines[i]);
	check_fresh();
	world.seed = 0;
}

static void
world_comes_to_the_right_rest(void **state)
{
	const char *env = getenv("USBMGRD_SEED");
	uint64_t seed = 0;
	unsigned int i;

	(void)state;
	if (env != NULL) {
		seed = strtoull(env, NULL, 10);
		run_round(seed);
		return;
	}
	assert_int_equal(getrandom(&seed, 4, 0), 4);
	print_message("# seeds from %llu\n", (unsigned long long)seed);
	for (i = 0; i < ROUNDS; i++)
		run_round(seed + i);
}

static int
say_seed(void **state)
{
	if (world.seed != 0)
		fprintf(stderr, "%s# USBMGRD_SEED=%llu\n", world.trace,
		    (unsigned long long)world.seed);
	core_free(world.old);
	return bed_teardown(state);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    world_comes_to_the_right_rest, bed_setup, say_seed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
