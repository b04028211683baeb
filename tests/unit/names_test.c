/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/* How people call devices and commands. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "../../usbmgrctl/command.h"
#include "../../usbmgrctl/names.h"

static struct ctl_device devices[6];

static void
device(size_t i, const char *port, uint16_t vendor, uint16_t product,
    const char *name)
{
	const char *errstr;

	memset(&devices[i], 0, sizeof(devices[i]));
	assert_int_equal(usbport_parse(&devices[i].dev.port, port, &errstr), 0);
	devices[i].dev.vendor = vendor;
	devices[i].dev.product = product;
	strlcpy(devices[i].dev.name, name, sizeof(devices[i].dev.name));
}

static int
setup(void **state)
{
	(void)state;
	device(0, "3:9", 0x045e, 0x0823, "Classic IntelliMouse");
	device(1, "3:1", 0x0409, 0x55aa, "USB Hub");
	device(2, "3:1.2", 0x045e, 0x0823, "Classic IntelliMouse");
	device(3, "4:1", 0x0403, 0x6001, "Mouse");
	device(4, "1:2", 0x0001, 0x0009, "3-1");
	device(5, "2:2", 0x1234, 0x5678, "");
	return 0;
}

/* Bits of the devices that are meant. */
static unsigned int
meant(const char *word)
{
	size_t found[6], n, i;
	unsigned int bits = 0;

	n = names_match(word, devices, 6, found);
	for (i = 0; i < n; i++)
		bits |= 1U << found[i];
	return bits;
}

static void
devices_have_several_names(void **state)
{
	(void)state;
	assert_int_equal(meant("3:9"), 1);
	assert_int_equal(meant("003:9"), 1);
	assert_int_equal(meant("3-9"), 1);
	assert_int_equal(meant("3-1.2"), 4);
	/* A port comes before a name that looks like one. */
	assert_int_equal(meant("3-1"), 2);
	assert_int_equal(meant("0403:6001"), 8);
	assert_int_equal(meant("045E:0823"), 1 | 4);
	/* Eight digits are a product before they are a port. */
	assert_int_equal(meant("0001:0009"), 16);
	assert_int_equal(meant("0003:0009"), 1);
	/* The whole name comes before a part of it. */
	assert_int_equal(meant("mouse"), 8);
	assert_int_equal(meant("intelli"), 1 | 4);
	assert_int_equal(meant("USB"), 2);
	assert_int_equal(meant("3:10"), 0);
	assert_int_equal(meant(""), 0);
	assert_int_equal(meant("3"), 16);
	assert_int_equal(meant("nothing"), 0);
}

static void
is(const char *words, const char *expected)
{
	char copy[64], *list[8], *rest = copy, *word, error[1024] = "";
	const struct command *c;
	int n = 0, used;

	strlcpy(copy, words, sizeof(copy));
	while ((word = strsep(&rest, " ")) != NULL)
		list[n++] = word;
	c = command_find(n, list, &used, error, sizeof(error));
	assert_string_equal(c != NULL ? c->words : error, expected);
	if (c != NULL)
		assert_int_equal(used, strchr(c->words, ' ') == NULL ? 1 : 2);
}

static void
words_may_be_cut_short(void **state)
{
	const struct command *c;

	(void)state;
	for (c = commands; c->words != NULL; c++)
		is(c->words, c->words);
	is("s d", "show devices");
	is("sh proc x y", "show processes");
	is("e 3:9", "explain");
	is("att 3:9 x", "attach");
	is("au v", "audit verify");
	is("l b", "log brief");
	is("rel", "reload");
	is("a", "unclear command \"a\": it could be attach or audit");
	is("re", "unclear command \"re\": it could be reload or replay");
	is("showx", "unknown command \"showx\": expected show, explain, "
		    "monitor, attach, detach, policy, reload, log, audit, "
		    "check, replay or generate");
	is("", "unknown command \"\": expected show, explain, monitor, attach, "
	       "detach, policy, reload, log, audit, check, replay or generate");
	is("log", "log: expected verbose or brief");
	is("log x", "unknown command \"x\": expected verbose or brief");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(devices_have_several_names, setup),
		cmocka_unit_test(words_may_be_cut_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
