/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/* What mountinfo and swaps say of a block device. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "mounts.h"

static const char mountinfo[] =
    "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount\n"
    "23 22 0:21 / /proc rw,nosuid shared:13 - proc proc rw\n"
    "24 22 0:5 / /dev rw - devtmpfs /dev/fake rw\n"
    /* any number of optional fields, and a blank in the mount point */
    "36 22 8:17 / /mnt/my\\040disk rw master:1 propagate_from:2 shared:7 - "
    "vfat /dev/sdb1 rw\n"
    /* btrfs has a number of its own */
    "40 22 0:44 /sub /data rw,noatime - btrfs /dev/sdc rw,space_cache\n"
    /* by another name than the kernel's */
    "41 22 253:3 / /crypt rw - xfs /dev/mapper/my\\040luks rw\n"
    /* a mount point that looks like the separator */
    "42 22 8:33 / /- rw - ext4 /dev/sdd1 rw\n"
    "43 22 8:49 / /x rw - ext4 /dev/sd\\145 rw\n";

static const char swaps[] =
    "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    "/dev/sdf2                               partition\t8388604\t\t0\t\t-2\n"
    "/swap\\040file                           file\t\t1024\t\t0\t\t-3\n";

static struct mounts m;

static int
fresh(void **state)
{
	(void)state;
	mounts_clear(&m);
	return 0;
}

static void
parse(int (*parser)(struct mounts *, char *), const char *text)
{
	char copy[2048];

	assert_true(strlen(text) < sizeof(copy));
	strcpy(copy, text);
	assert_int_equal(parser(&m, copy), 0);
}

static void
mounts_are_found_by_number(void **state)
{
	(void)state;
	parse(mounts_parse_mountinfo, mountinfo);
	assert_string_equal(mounts_find(&m, "254:0", "x"), "mounted");
	assert_string_equal(mounts_find(&m, "8:17", "x"), "mounted");
	assert_string_equal(mounts_find(&m, "253:3", "x"), "mounted");
	assert_string_equal(mounts_find(&m, "8:33", "x"), "mounted");
	assert_null(mounts_find(&m, "8:1", "x"));
	assert_null(mounts_find(&m, "17:8", "x"));
	assert_null(mounts_find(&m, "8:170", "x"));
	/* Not a disk's number, whatever is mounted with it. */
	assert_null(mounts_find(&m, "0:44", "x"));
	assert_null(mounts_find(&m, "0:0", "x"));
}

static void
mounts_are_found_by_name(void **state)
{
	(void)state;
	parse(mounts_parse_mountinfo, mountinfo);
	assert_string_equal(mounts_find(&m, "8:32", "sdc"), "mounted");
	assert_string_equal(mounts_find(&m, NULL, "sdc"), "mounted");
	assert_string_equal(mounts_find(&m, "1:1", "sde"), "mounted");
	assert_null(mounts_find(&m, "8:32", "sdc1"));
	assert_null(mounts_find(&m, "8:32", "sd"));
	assert_null(mounts_find(&m, "8:32", "proc"));
	assert_null(mounts_find(&m, "8:32", ""));
}

static void
swaps_are_found(void **state)
{
	(void)state;
	parse(mounts_parse_swaps, swaps);
	assert_string_equal(mounts_find(&m, "8:82", "sdf2"), "swap");
	assert_null(mounts_find(&m, "8:80", "sdf"));
	assert_null(mounts_find(&m, "0:0", "Filename"));
	assert_int_equal(m.len, 1);
}

/* Two that are both there do not hide each other. */
static void
mounts_and_swaps_add_up(void **state)
{
	(void)state;
	parse(mounts_parse_swaps, swaps);
	parse(mounts_parse_mountinfo, mountinfo);
	assert_string_equal(mounts_find(&m, "8:82", "sdf2"), "swap");
	assert_string_equal(mounts_find(&m, "8:17", "sdb1"), "mounted");
}

static void
lines_without_sense_are_skipped(void **state)
{
	(void)state;
	parse(mounts_parse_mountinfo,
	    "\n \n-\n1\n1 2\n1 2 8:1\n1 2 8:1 / / rw\n1 2 8:1 / / rw -\n"
	    "1 2 8 / / rw - ext4 /dev/sda1 rw\n"
	    "1 2 8:1x / / rw - ext4 /dev/sda1 rw\n"
	    "1 2 8:99 / / rw - ext4 /dev/sdz rw");
	parse(mounts_parse_swaps, "\n\n  \n/dev/\n");
	assert_int_equal(m.len, 1);
	assert_string_equal(mounts_find(&m, "8:99", ""), "mounted");
}

/* An escape that is cut off, and one that is none. */
static void
escapes_are_octal(void **state)
{
	(void)state;
	parse(mounts_parse_swaps,
	    "/dev/a\\040b x\n/dev/c\\ x\n/dev/d\\04 x\n/dev/e\\134f x\n"
	    "/dev/g\\999 x\n");
	assert_string_equal(mounts_find(&m, NULL, "a b"), "swap");
	assert_string_equal(mounts_find(&m, NULL, "c\\"), "swap");
	assert_string_equal(mounts_find(&m, NULL, "d\\04"), "swap");
	assert_string_equal(mounts_find(&m, NULL, "e\\f"), "swap");
	assert_string_equal(mounts_find(&m, NULL, "g\\999"), "swap");
}

static void
what_is_not_known_is_in_use(void **state)
{
	(void)state;
	assert_string_equal(mounts_find(&m, "", "sda"), "unknown");
	assert_string_equal(mounts_find(&m, "8", "sda"), "unknown");
	assert_string_equal(mounts_find(&m, "8:1:2", "sda"), "unknown");
	m.unknown = 1;
	assert_string_equal(mounts_find(&m, "8:1", "sda"), "unknown");
}

static void
many_mounts_fit(void **state)
{
	char line[80], number[16];
	int i;

	(void)state;
	for (i = 1; i <= 1000; i++) {
		snprintf(line, sizeof(line),
		    "1 2 8:%d / /m rw - ext4 /dev/none rw", i);
		assert_int_equal(mounts_parse_mountinfo(&m, line), 0);
	}
	for (i = 1; i <= 1000; i++) {
		snprintf(number, sizeof(number), "8:%d", i);
		assert_string_equal(mounts_find(&m, number, "x"), "mounted");
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(mounts_are_found_by_number, fresh),
		cmocka_unit_test_setup(mounts_are_found_by_name, fresh),
		cmocka_unit_test_setup(swaps_are_found, fresh),
		cmocka_unit_test_setup(mounts_and_swaps_add_up, fresh),
		cmocka_unit_test_setup(lines_without_sense_are_skipped, fresh),
		cmocka_unit_test_setup(escapes_are_octal, fresh),
		cmocka_unit_test_setup(what_is_not_known_is_in_use, fresh),
		cmocka_unit_test_setup_teardown(many_mounts_fit, fresh, fresh),
	};

	return cmocka_run_group_tests(tests, NULL, fresh);
}
