/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/*
 * The engine's core in a simulated world: see world.h.  Worlds of chance, one
 * a seed, are let go wrong for a while and come to rest, again and again.
 *
 *	sim [-n events] [-s seed]
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "check.h"
#include "trace.h"

#define WORLD_EVENTS 20000 /* after which another one begins */
#define REST_MAX 100000

static struct link *
some_link(void)
{
	return &world.links[chance(LINKS_MAX)];
}

static void
link_step(void)
{
	struct link *l;
	int i;

	/* Most are not in use. */
	for (i = 0; i < 8 && (l = some_link())->number == 0; i++)
		;
	switch (chance(8)) {
	case 0:
	case 1:
		parent_try(l);
		break;
	case 2:
		if (chance(4) == 0)
			client_give_up(l);
		break;
	case 3:
		client_release(l);
		break;
	default:
		client_read(l);
	}
}

/* calm: processes live and the policy stays, mostly. */
static void
trouble_step(int calm)
{
	unsigned int n = chance(40);

	if (calm && n < 9 && chance(10) != 0)
		n = 39;
	switch (n) {
	case 0:
		engine_die();
		break;
	case 1:
	case 2:
		client_die();
		break;
	case 3:
	case 4:
		monitor_die();
		break;
	case 5:
	case 6:
	case 7:
	case 8:
		parent_reload();
		break;
	case 9:
		client_overdue();
		break;
	case 10:
	case 11:
	case 12:
		engine_override();
		break;
	case 13:
		world.now += chance(100000);
		break;
	case 14:
	case 15:
	case 16:
	case 17:
	case 18:
	case 19:
		host_step();
		break;
	default:
		if (chance(2) == 0)
			host_step();
		else
			qemu_step();
	}
}

/* One channel may be slow for a while. */
static void
step(unsigned int slow, int calm)
{
	unsigned int n = chance(10);

	world.now += chance(40);
	if (n == slow && chance(8) != 0)
		return;
	switch (n) {
	case 0:
		client_hear_parent();
		parent_hear_client();
		break;
	case 1:
		client_hear_engine();
		break;
	case 2:
		engine_hear_parent();
		break;
	case 3:
		engine_hear_client();
		break;
	case 4:
		engine_hear_monitor();
		break;
	case 5:
		parent_hear_engine();
		break;
	case 6:
		qemu_carry_out((int)chance(QEMUS));
		break;
	case 7:
		if (chance(2) == 0)
			trouble_step(calm);
		else if (chance(4) == 0)
			monitor_work();
		else if (chance(4) == 0)
			parent_start_client();
		else if (chance(4) == 0)
			parent_start_engine();
		else
			engine_tick(0);
		break;
	default:
		link_step();
	}
}

static int
rest_links(void)
{
	struct link *l;
	int i, did = 0;

	for (i = 0; i < LINKS_MAX; i++) {
		l = &world.links[i];
		if (l->number != 0)
			did += parent_try(l) + client_read(l);
	}
	return did;
}

/* What only time brings about. */
static int
rest_late(void)
{
	struct link *l;
	int i, did = 0;

	for (i = 0; i < LINKS_MAX; i++) {
		l = &world.links[i];
		if (l->number != 0)
			did += client_release(l);
	}
	return did || client_overdue() || engine_tick(1);
}

static int
rest_step(void)
{
	int i, did = 0;

	for (i = 0; i < QEMUS; i++)
		did += qemu_carry_out(i);
	return did + client_hear_parent() + parent_hear_client() +
	       client_hear_engine() + engine_hear_parent() +
	       engine_hear_client() + engine_hear_monitor() +
	       parent_hear_engine() + monitor_work() + rest_links();
}

static void
rest_until_still(void)
{
	unsigned int n = 0;

	while (rest_step() || rest_late())
		CHECK(++n < REST_MAX, ALL, NOBODY, "it does not come to rest");
}

/* Whoever shares a socket connects once more, and the others look. */
static void
look_at_all(void)
{
	struct link *l;
	int i;

	for (i = 0; i < LINKS_MAX; i++) {
		l = &world.links[i];
		if (!l->client.known || l->client.ready == 0)
			continue;
		if (l->client.handed)
			client_look_again(l);
		else if (!l->client.wanted) {
			l->client.wanted = 1;
			channel_add(&world.client_parent, NOTE_WANT, 0)->vm =
			    l->number;
		}
	}
}

static void
come_to_rest(void)
{
	int i;

	trace(ALL, NOBODY, "nothing goes wrong from now on");
	world.faults = 0;
	for (i = 0; i < QEMUS; i++)
		qemu_heal(i);
	parent_start_client();
	parent_start_engine();
	rest_until_still();
	for (i = 0; i < QEMUS; i++)
		qemu_end_doubled(i);
	rest_until_still();
	look_at_all();
	rest_until_still();
	oracle_check();
	world.faults = 1;
}

static void
run(uint64_t seed, uint64_t events)
{
	unsigned int n, slow;
	int calm;

	world_start(seed);
	told_start();
	world.faults = 1;
	parent_reload();
	monitor_die();
	parent_start_engine();
	parent_start_client();
	while (world.nevents < events) {
		slow = chance(20);
		calm = chance(3) != 0;
		for (n = 20 + chance(chance(4) == 0 ? 20000 : 1000); n > 0; n--)
			step(slow, calm);
		come_to_rest();
	}
}

static double
seconds(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static uint64_t
number(const char *s)
{
	char *end;
	uint64_t n = strtoull(s, &end, 10);

	if (*s == '\0' || *end != '\0') {
		fprintf(stderr, "usage: sim [-n events] [-s seed]\n");
		exit(2);
	}
	return n;
}

int
main(int argc, char *argv[])
{
	uint64_t events = 1000000, seed = 1, first, done = 0, actions = 0;
	double begin = seconds(), took;
	int c;

	while ((c = getopt(argc, argv, "n:s:")) != -1)
		if (c == 'n')
			events = number(optarg);
		else
			seed = number(c == 's' ? optarg : "");
	for (first = seed; done < events; seed++) {
		run(seed, events - done < WORLD_EVENTS ? events - done
						       : WORLD_EVENTS);
		done += world.nevents;
		actions += world.nactions;
	}
	took = seconds() - begin;
	printf("%" PRIu64 " events, %" PRIu64 " actions, seeds %" PRIu64
	       " to %" PRIu64 ": %.1f s of CPU time, %.0f events/s\n",
	    done, actions, first, seed - 1, took, (double)done / took);
	core_free(world.core);
	return 0;
}
