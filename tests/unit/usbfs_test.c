/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <sys/mman.h>

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sha2.h>

#include "usbfs.h"

/* What usbfs would give for a mouse: numbers of the first 18 in host order. */
static void
mouse(uint8_t *wire, uint8_t *usbfs, size_t n)
{
	static const uint8_t device[18] = { 18, 1, 0x10, 0x02, 0, 0, 0, 8, 0x5e,
		0x04, 0x23, 0x08, 0x00, 0x01, 1, 3, 0, 1 };
	static const size_t offsets[] = { 2, 8, 10, 12 };
	uint16_t v;
	size_t i;

	for (i = 0; i < n; i++)
		wire[i] = (uint8_t)(i * 7);
	memcpy(wire, device, sizeof(device));
	memcpy(usbfs, wire, n);
	for (i = 0; i < 4; i++) {
		memcpy(&v, wire + offsets[i], sizeof(v));
		v = le16toh(v);
		memcpy(usbfs + offsets[i], &v, sizeof(v));
	}
}

static int
file_with(const void *data, size_t n)
{
	int fd = memfd_create("descriptors", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, n), n);
	assert_int_equal(lseek(fd, 5, SEEK_SET), 5);
	return fd;
}

static void
digest_is_that_of_the_wire(void **state)
{
	static const size_t sizes[] = { 18, 52, 4096, 4097, 70000 };
	static uint8_t wire[70000], usbfs[70000];
	uint8_t want[USBDEV_DIGEST_LEN], digest[USBDEV_DIGEST_LEN];
	SHA2_CTX ctx;
	size_t i;
	int fd;

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		mouse(wire, usbfs, sizes[i]);
		SHA256Init(&ctx);
		SHA256Update(&ctx, wire, sizes[i]);
		SHA256Final(want, &ctx);
		fd = file_with(usbfs, sizes[i]);
		assert_int_equal(usbfs_digest(fd, digest), 0);
		assert_memory_equal(digest, want, sizeof(want));
		/* QEMU will read from where it stood. */
		assert_int_equal(lseek(fd, 0, SEEK_CUR), 5);
		close(fd);
	}
}

static void
no_descriptors(void **state)
{
	static uint8_t big[18 + 8 * 65535 + 1];
	uint8_t digest[USBDEV_DIGEST_LEN];
	int fd;

	(void)state;
	fd = file_with(big, 17);
	assert_int_equal(usbfs_digest(fd, digest), -1);
	assert_int_equal(errno, EINVAL);
	close(fd);
	fd = file_with(big, sizeof(big));
	assert_int_equal(usbfs_digest(fd, digest), -1);
	assert_int_equal(errno, EINVAL);
	close(fd);
	assert_int_equal(ftruncate(fd = file_with(big, 18), 0), 0);
	assert_int_equal(usbfs_digest(fd, digest), -1);
	assert_int_equal(errno, EINVAL);
	close(fd);
	assert_int_equal(usbfs_digest(-1, digest), -1);
	assert_int_equal(errno, EBADF);
}

static void
other_files_are_refused(void **state)
{
	uint8_t digest[USBDEV_DIGEST_LEN] = { 0 };
	char text[MSG_TEXT_MAX];
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)state;
	assert_int_equal(
	    usbfs_verify(fd, 1, 4, digest, text, sizeof(text)), RESULT_CHANGED);
	assert_string_equal(text, "descriptor is not usbfs node 1/4");
	assert_int_equal(
	    usbfs_verify(fd, 0, 0, digest, text, sizeof(text)), RESULT_CHANGED);
	close(fd);
}

static void
errno_has_a_class(void **state)
{
	(void)state;
	assert_int_equal(usbfs_errno_result(ENOENT), RESULT_GONE);
	assert_int_equal(usbfs_errno_result(ENODEV), RESULT_GONE);
	assert_int_equal(usbfs_errno_result(ENXIO), RESULT_GONE);
	assert_int_equal(usbfs_errno_result(EACCES), RESULT_PERMISSION);
	assert_int_equal(usbfs_errno_result(EPERM), RESULT_PERMISSION);
	assert_int_equal(usbfs_errno_result(EIO), RESULT_OTHER);
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(digest_is_that_of_the_wire),
		cmocka_unit_test(no_descriptors),
		cmocka_unit_test(other_files_are_refused),
		cmocka_unit_test(errno_has_a_class),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
