/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "loop.h"
#include "slow.h"

#define DEADLINE 60 /* seconds for all tests */
#define MANY 40 /* more than one round of the loop takes */

static char seen[256]; /* a letter for each callback */

static void
note(char c)
{
	size_t len = strlen(seen);

	assert_true(len + 1 < sizeof(seen));
	seen[len] = c;
	seen[len + 1] = '\0';
}

static void
note_arg(void *arg)
{
	note(*(const char *)arg);
}

static void
end(void *arg)
{
	(void)arg;
	loop_end(0);
}

/* Where all is slower, so is time. */
static void
set(struct loop_timer *t, uint64_t ms, void (*cb)(void *), void *arg)
{
	loop_timer_set(t, ms * slow(), cb, arg);
}

/* Runs the loop for a while. */
static void
run(uint64_t ms)
{
	struct loop_timer t = { .at = 0 };

	set(&t, ms, end, NULL);
	assert_int_equal(loop_run(), 0);
}

static int
setup(void **state)
{
	(void)state;
	memset(seen, 0, sizeof(seen));
	return 0;
}

/* Timers. */

static void
timers_run_by_time(void **state)
{
	struct loop_timer a = { .at = 0 }, b = { .at = 0 }, c = { .at = 0 };
	uint64_t start = loop_now();

	(void)state;
	set(&a, 30, note_arg, "a");
	set(&b, 10, note_arg, "b");
	set(&c, 20, note_arg, "c");
	assert_string_equal(seen, "");
	run(40);
	assert_string_equal(seen, "bca");
	assert_true(loop_now() - start >= 40);
	run(40);
	assert_string_equal(seen, "bca");
}

static void
timer_of_no_time_runs_from_the_loop(void **state)
{
	struct loop_timer a = { .at = 0 };

	(void)state;
	set(&a, 0, note_arg, "a");
	assert_string_equal(seen, "");
	run(5);
	assert_string_equal(seen, "a");
}

static void
timer_is_replaced(void **state)
{
	struct loop_timer a = { .at = 0 }, b = { .at = 0 }, c = { .at = 0 };

	(void)state;
	set(&a, 5, note_arg, "a");
	set(&b, 10, note_arg, "b");
	set(&c, 15, note_arg, "c");
	set(&b, 100000, note_arg, "d");
	set(&a, 20, note_arg, "e");
	set(&b, 1, note_arg, "f");
	run(30);
	assert_string_equal(seen, "fce");
}

static void
timer_is_deleted(void **state)
{
	struct loop_timer a = { .at = 0 };

	(void)state;
	loop_timer_del(&a);
	set(&a, 1, note_arg, "a");
	loop_timer_del(&a);
	loop_timer_del(&a);
	run(10);
	assert_string_equal(seen, "");
}

static struct loop_timer pair[2];

static void
delete_both(void *arg)
{
	note_arg(arg);
	loop_timer_del(&pair[0]);
	loop_timer_del(&pair[1]);
}

static void
timer_deletes_another_that_is_due(void **state)
{
	(void)state;
	set(&pair[0], 1, delete_both, "x");
	set(&pair[1], 1, delete_both, "x");
	run(20);
	assert_string_equal(seen, "x");
}

static void
set_again(void *arg)
{
	note_arg(arg);
	if (strlen(seen) < 5)
		set(&pair[0], 0, set_again, arg);
}

static void
timer_sets_itself_again(void **state)
{
	(void)state;
	set(&pair[0], 0, set_again, "x");
	run(20);
	assert_string_equal(seen, "xxxxx");
}

static void
free_timer(void *arg)
{
	note('f');
	free(arg);
}

static void
timer_may_be_freed_by_its_callback(void **state)
{
	struct loop_timer *t = calloc(1, sizeof(*t));

	(void)state;
	assert_non_null(t);
	set(t, 0, free_timer, t);
	run(5);
	assert_string_equal(seen, "f");
}

static uint64_t
cpu_ms(void)
{
	struct timespec ts;

	assert_int_equal(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts), 0);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void
expired(uint32_t events, void *arg)
{
	(void)events;
	(void)arg;
	loop_end(0);
}

/* With a timer, and with nothing but a descriptor. */
static void
waiting_costs_nothing(void **state)
{
	const struct itimerspec wait = { .it_value.tv_nsec = 200000000 };
	uint64_t before = cpu_ms();
	struct loop_fd watch;
	int fd;

	(void)state;
	run(200);
	assert_true(cpu_ms() - before < 50 * slow());
	fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	assert_int_equal(timerfd_settime(fd, 0, &wait, NULL), 0);
	loop_add(&watch, fd, EPOLLIN, expired, NULL);
	assert_int_equal(loop_run(), 0);
	assert_true(cpu_ms() - before < 100 * slow());
	loop_del(&watch);
	close(fd);
}

/* Descriptors. */

struct watched {
	struct loop_fd watch;
	int fds[2]; /* of a pipe; the loop watches the first */
	char name;
	struct watched *victim;
};

static void
note_and_read(uint32_t events, void *arg)
{
	struct watched *w = arg;
	char c;

	assert_true(events & EPOLLIN);
	assert_int_equal(read(w->fds[0], &c, 1), 1);
	note(w->name);
}

static void
watch(struct watched *w, char name, void (*cb)(uint32_t, void *))
{
	memset(w, 0, sizeof(*w));
	w->name = name;
	assert_int_equal(pipe2(w->fds, O_CLOEXEC | O_NONBLOCK), 0);
	loop_add(&w->watch, w->fds[0], EPOLLIN, cb, w);
}

static void
poke(struct watched *w)
{
	assert_int_equal(write(w->fds[1], "x", 1), 1);
}

static void
unwatch(struct watched *w)
{
	loop_del(&w->watch);
	close(w->fds[0]);
	close(w->fds[1]);
}

static void
readable_descriptor_is_told(void **state)
{
	struct watched a;

	(void)state;
	watch(&a, 'a', note_and_read);
	run(5);
	assert_string_equal(seen, "");
	poke(&a);
	poke(&a);
	run(5);
	assert_string_equal(seen, "aa");
	unwatch(&a);
	loop_del(&a.watch);
}

static void
events_are_changed(void **state)
{
	struct watched a;

	(void)state;
	watch(&a, 'a', note_and_read);
	poke(&a);
	loop_events(&a.watch, 0);
	loop_events(&a.watch, 0);
	run(5);
	assert_string_equal(seen, "");
	loop_events(&a.watch, EPOLLIN);
	run(5);
	assert_string_equal(seen, "a");
	unwatch(&a);
}

static void
hung_up(uint32_t events, void *arg)
{
	struct watched *w = arg;

	assert_int_equal(events, EPOLLHUP);
	note('h');
	loop_del(&w->watch);
}

static void
hang_up_is_always_told(void **state)
{
	struct watched a;

	(void)state;
	watch(&a, 'a', hung_up);
	loop_events(&a.watch, 0);
	close(a.fds[1]);
	run(5);
	assert_string_equal(seen, "h");
	close(a.fds[0]);
}

static void
delete_victim(uint32_t events, void *arg)
{
	struct watched *w = arg;

	note_and_read(events, arg);
	unwatch(w->victim);
}

/* Both are ready in the same round: who is first, is the only one. */
static void
deleted_in_the_middle_of_a_round(void **state)
{
	struct watched a, b;

	(void)state;
	watch(&a, 'x', delete_victim);
	watch(&b, 'x', delete_victim);
	a.victim = &b;
	b.victim = &a;
	poke(&a);
	poke(&b);
	run(10);
	assert_string_equal(seen, "x");
	unwatch(a.watch.fd == -1 ? &b : &a);
}

static void
replace_victim(uint32_t events, void *arg)
{
	struct watched *w = arg, *v = w->victim;
	int old = v->watch.fd;

	note_and_read(events, arg);
	if (strlen(seen) > 1)
		return;
	unwatch(v);
	watch(v, 'n', note_and_read);
	assert_int_equal(v->watch.fd, old);
}

/* What was ready is not what has its number and its place now. */
static void
replaced_in_the_middle_of_a_round(void **state)
{
	struct watched a, b;

	(void)state;
	watch(&a, 'x', replace_victim);
	watch(&b, 'x', replace_victim);
	a.victim = &b;
	b.victim = &a;
	poke(&a);
	poke(&b);
	run(10);
	assert_string_equal(seen, "x");
	poke(a.name == 'n' ? &a : &b);
	run(5);
	assert_string_equal(seen, "xn");
	unwatch(&a);
	unwatch(&b);
}

static void
free_watched(uint32_t events, void *arg)
{
	struct watched *w = arg;

	note_and_read(events, arg);
	unwatch(w);
	free(w);
}

static void
watch_may_be_freed_by_its_callback(void **state)
{
	struct watched *w = calloc(1, sizeof(*w));

	(void)state;
	assert_non_null(w);
	watch(w, 'f', free_watched);
	poke(w);
	poke(w);
	run(5);
	assert_string_equal(seen, "f");
}

static void
many_are_all_told(void **state)
{
	static struct watched w[MANY];
	int i;

	(void)state;
	for (i = 0; i < MANY; i++) {
		watch(&w[i], (char)('0' + i), note_and_read);
		poke(&w[i]);
	}
	run(10);
	assert_int_equal(strlen(seen), MANY);
	for (i = 0; i < MANY; i++) {
		assert_non_null(strchr(seen, '0' + i));
		unwatch(&w[i]);
	}
}

static void
end_now(uint32_t events, void *arg)
{
	note_and_read(events, arg);
	loop_end(7);
}

static void
end_is_after_the_current_callback(void **state)
{
	struct watched a, b;
	struct loop_timer t = { .at = 0 };

	(void)state;
	watch(&a, 'x', end_now);
	watch(&b, 'x', end_now);
	poke(&a);
	poke(&b);
	set(&t, 0, note_arg, "t");
	assert_int_equal(loop_run(), 7);
	assert_string_equal(seen, "x");
	/* What was left out is there when it goes on. */
	assert_int_equal(loop_run(), 7);
	assert_string_equal(seen, "xx");
	run(5);
	assert_string_equal(seen, "xxt");
	unwatch(&a);
	unwatch(&b);
}

/* Signals. */

static void
note_signal(int signo)
{
	note(signo == SIGUSR1 ? '1' : signo == SIGUSR2 ? '2' : '?');
}

static void
signals_are_told_from_the_loop(void **state)
{
	static const int list[] = { SIGUSR1, SIGUSR2, 0 };

	(void)state;
	loop_signals(list, note_signal);
	raise(SIGUSR2);
	raise(SIGUSR1);
	assert_string_equal(seen, "");
	run(10);
	assert_int_equal(strlen(seen), 2);
	assert_non_null(strchr(seen, '1'));
	assert_non_null(strchr(seen, '2'));
	raise(SIGUSR1);
	run(10);
	assert_int_equal(strlen(seen), 3);
	assert_int_equal(seen[2], '1');
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int
main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(timers_run_by_time),
		TEST(timer_of_no_time_runs_from_the_loop),
		TEST(timer_is_replaced),
		TEST(timer_is_deleted),
		TEST(timer_deletes_another_that_is_due),
		TEST(timer_sets_itself_again),
		TEST(timer_may_be_freed_by_its_callback),
		TEST(waiting_costs_nothing),
		TEST(readable_descriptor_is_told),
		TEST(events_are_changed),
		TEST(hang_up_is_always_told),
		TEST(deleted_in_the_middle_of_a_round),
		TEST(replaced_in_the_middle_of_a_round),
		TEST(watch_may_be_freed_by_its_callback),
		TEST(many_are_all_told),
		TEST(end_is_after_the_current_callback),
		TEST(signals_are_told_from_the_loop),
	};

	alarm(DEADLINE * slow());
	loop_init();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
