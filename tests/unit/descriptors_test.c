/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

/* Raw descriptors: what is taken from them, and which of them are odd. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "descriptors.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Where parts of the mouse start. */
#define CONFIG 18
#define INTERFACE 27
#define HID 36
#define ENDPOINT 45

static const uint8_t mouse[] = {
	/* device: 045e:0823, revision 1.00 */
	18, 1, 0x00, 0x02, 0, 0, 0, 8, 0x5e, 0x04, 0x23, 0x08, 0x00, 0x01, 1, 2,
	0, 1,
	/* configuration of 34 bytes, one interface */
	9, 2, 34, 0, 1, 1, 0, 0xa0, 50,
	/* boot mouse, its HID descriptor, its endpoint */
	9, 4, 0, 0, 1, 3, 1, 2, 0, 9, 0x21, 0x11, 1, 0, 1, 0x22, 52, 0, 7, 5,
	0x81, 3, 8, 0, 10
};

/* sha256sum(1) of the bytes above */
static const char mouse_digest[] =
    "7f58f9961919a11b9d417354f12c1e3b19d7ef52639d6979a84088e27cb39da1";

/* Two configurations; the first is a camera's with settings and a group. */
static const uint8_t camera[] = { 18, 1, 0x20, 0x03, 0xef, 2, 1, 9, 0x6d, 0x04,
	0x5e, 0x08, 0x17, 0x00, 0, 2, 1, 2,
	/* configuration 1, 3 interfaces */
	9, 2, 77, 0, 3, 1, 0, 0x80, 250,
	/* association, video control, video streaming with two settings */
	8, 11, 0, 2, 14, 3, 0, 0, 9, 4, 0, 0, 0, 14, 1, 0, 0, 9, 4, 1, 0, 0, 14,
	2, 0, 0, 9, 4, 1, 1, 1, 14, 2, 0, 0,
	/* endpoint with its SuperSpeed companion */
	7, 5, 0x81, 5, 0, 4, 1, 6, 48, 0, 0, 0, 4,
	/* audio, class-specific descriptor, vendor setting */
	9, 4, 2, 0, 0, 1, 1, 0, 0, 2, 0x24, 9, 4, 2, 1, 0, 0xff, 1, 2, 0,
	/* configuration 2 */
	9, 2, 18, 0, 1, 2, 0, 0x80, 250, 9, 4, 0, 0, 0, 0xfe, 1, 1, 0 };

static int
has(const struct usbdev *dev, uint8_t class, uint8_t subclass, uint8_t protocol)
{
	const struct usbclass *i;

	for (i = dev->interfaces; i < dev->interfaces + dev->ninterfaces; i++)
		if (i->class == class && i->subclass == subclass &&
		    i->protocol == protocol)
			return 1;
	return 0;
}

/* On the heap, so that a read past the end is seen. */
static int
parse(struct usbdev *dev, const uint8_t *bytes, size_t len)
{
	uint8_t *copy = malloc(len == 0 ? 1 : len);
	int error;

	assert_non_null(copy);
	memcpy(copy, bytes, len);
	memset(dev, 0, sizeof(*dev));
	error = descriptors_parse(dev, copy, len);
	free(copy);
	return error;
}

static void
mouse_is_read(void **state)
{
	char hex[2 * USBDEV_DIGEST_LEN + 1];
	struct usbdev dev;
	size_t i;

	(void)state;
	assert_int_equal(parse(&dev, mouse, sizeof(mouse)), 0);
	assert_int_equal(dev.vendor, 0x045e);
	assert_int_equal(dev.product, 0x0823);
	assert_int_equal(dev.revision, 0x0100);
	assert_int_equal(dev.class.class, 0);
	assert_int_equal(dev.ninterfaces, 1);
	assert_true(has(&dev, 3, 1, 2));
	assert_int_equal(dev.odd_descriptors, 0);
	for (i = 0; i < USBDEV_DIGEST_LEN; i++)
		snprintf(hex + 2 * i, 3, "%02x", dev.digest[i]);
	assert_string_equal(hex, mouse_digest);
}

static void
all_settings_of_all_configurations_count(void **state)
{
	struct usbdev dev;

	(void)state;
	assert_int_equal(parse(&dev, camera, sizeof(camera)), 0);
	assert_int_equal(dev.odd_descriptors, 0);
	assert_int_equal(dev.class.class, 0xef);
	assert_int_equal(dev.class.subclass, 2);
	assert_int_equal(dev.class.protocol, 1);
	assert_int_equal(dev.ninterfaces, 5);
	assert_true(has(&dev, 14, 1, 0));
	assert_true(has(&dev, 14, 2, 0));
	assert_true(has(&dev, 1, 1, 0));
	assert_true(has(&dev, 0xff, 1, 2));
	assert_true(has(&dev, 0xfe, 1, 1));
}

static void
what_was_known_before_is_replaced(void **state)
{
	struct usbdev dev;

	(void)state;
	assert_int_equal(parse(&dev, camera, sizeof(camera)), 0);
	dev.odd_descriptors = 1;
	assert_int_equal(descriptors_parse(&dev, mouse, sizeof(mouse)), 0);
	assert_int_equal(dev.ninterfaces, 1);
	assert_int_equal(dev.odd_descriptors, 0);
	assert_int_equal(dev.interfaces[1].class, 0);
}

static void
no_device_descriptor_is_an_error(void **state)
{
	static const struct usbdev untouched;
	struct usbdev dev;
	uint8_t other[sizeof(mouse)];

	(void)state;
	assert_int_equal(parse(&dev, mouse, 0), -1);
	assert_int_equal(parse(&dev, mouse, 17), -1);
	memcpy(other, mouse, sizeof(mouse));
	other[1] = 2;
	assert_int_equal(parse(&dev, other, sizeof(other)), -1);
	assert_memory_equal(&dev, &untouched, sizeof(dev));
}

/* One byte of the mouse changed. */
static const struct {
	const char *what;
	size_t at;
	uint8_t value;
	int odd;
} changes[] = {
	{ "device descriptor of 17 bytes", 0, 17, 1 },
	{ "device descriptor of 19 bytes", 0, 19, 1 },
	{ "no configuration told", 17, 0, 1 },
	{ "two configurations told", 17, 2, 1 },
	{ "configuration of 8 bytes", CONFIG, 8, 1 },
	{ "length 0", INTERFACE, 0, 1 },
	{ "length 1", HID, 1, 1 },
	{ "a device descriptor in a configuration", HID + 1, 1, 1 },
	{ "total length 33", CONFIG + 2, 33, 1 },
	{ "total length 35", CONFIG + 2, 35, 1 },
	{ "total length 0", CONFIG + 2, 0, 1 },
	{ "total length 8704", CONFIG + 3, 34, 1 },
	{ "16 interfaces told", CONFIG + 4, 16, 0 },
	{ "17 interfaces told", CONFIG + 4, 17, 1 },
	{ "255 interfaces told", CONFIG + 4, 255, 1 },
	{ "interface of 8 bytes", INTERFACE, 8, 1 },
	{ "interface 15", INTERFACE + 2, 15, 0 },
	{ "interface 16", INTERFACE + 2, 16, 1 },
	{ "interface 255", INTERFACE + 2, 255, 1 },
	{ "interface that runs past the end", INTERFACE, 255, 1 },
	{ "endpoint of 6 bytes", ENDPOINT, 6, 1 },
	{ "endpoint of 8 bytes", ENDPOINT, 8, 1 },
	{ "no configuration at all", CONFIG + 1, 0x24, 1 },
	{ "unknown type", HID + 1, 0x77, 0 },
};

static void
odd_ones_are_told(void **state)
{
	uint8_t bytes[sizeof(mouse)];
	struct usbdev dev;
	size_t i;

	(void)state;
	for (i = 0; i < COUNT(changes); i++) {
		memcpy(bytes, mouse, sizeof(mouse));
		bytes[changes[i].at] = changes[i].value;
		assert_int_equal(parse(&dev, bytes, sizeof(bytes)), 0);
		if (dev.odd_descriptors != changes[i].odd)
			fail_msg("%s: odd_descriptors is %d", changes[i].what,
			    dev.odd_descriptors);
	}
}

static void
each_cut_is_odd(void **state)
{
	struct usbdev dev;
	size_t len;

	(void)state;
	for (len = 18; len < sizeof(camera); len++) {
		assert_int_equal(parse(&dev, camera, len), 0);
		assert_int_equal(dev.odd_descriptors, 1);
	}
}

static void
bytes_behind_the_end_are_odd(void **state)
{
	uint8_t bytes[sizeof(mouse) + 2] = { 0 };
	struct usbdev dev;

	(void)state;
	memcpy(bytes, mouse, sizeof(mouse));
	assert_int_equal(parse(&dev, bytes, sizeof(mouse) + 1), 0);
	assert_int_equal(dev.odd_descriptors, 1);
	/* A whole one, which belongs to no configuration. */
	bytes[sizeof(mouse)] = 2;
	bytes[sizeof(mouse) + 1] = 0x24;
	assert_int_equal(parse(&dev, bytes, sizeof(bytes)), 0);
	assert_int_equal(dev.odd_descriptors, 1);
}

/* A rule against a class must see it behind a configuration that lies. */
static void
interfaces_behind_a_lie_count(void **state)
{
	static const uint8_t lies[] = { 30, 76, 78, 95, 255 };
	uint8_t bytes[sizeof(camera)];
	struct usbdev dev;
	size_t i;

	(void)state;
	memcpy(bytes, camera, sizeof(camera));
	for (i = 0; i < COUNT(lies); i++) {
		bytes[CONFIG + 2] = lies[i];
		assert_int_equal(parse(&dev, bytes, sizeof(bytes)), 0);
		assert_int_equal(dev.odd_descriptors, 1);
		assert_int_equal(dev.ninterfaces, 5);
	}
}

/* Too short for what they are, with the next one where they say. */
static const uint8_t short_ones[][9] = {
	{ 8, 2, 8, 0, 1, 1, 0, 0 },
	{ 8, 4, 1, 0, 0, 3, 1, 1 },
	{ 2, 4 },
	{ 6, 5, 0x82, 3, 8, 0 },
	{ 7, 11, 0, 1, 3, 0, 0 },
	{ 5, 48, 0, 0, 0 },
};

static void
short_ones_are_odd(void **state)
{
	uint8_t bytes[sizeof(mouse) + sizeof(short_ones[0])];
	struct usbdev dev;
	size_t i, len;

	(void)state;
	for (i = 0; i < COUNT(short_ones); i++) {
		len = short_ones[i][0];
		memcpy(bytes, mouse, sizeof(mouse));
		memcpy(bytes + sizeof(mouse), short_ones[i], len);
		len += sizeof(mouse);
		bytes[CONFIG + 2] = (uint8_t)(len - CONFIG);
		assert_int_equal(parse(&dev, bytes, len), 0);
		assert_int_equal(dev.odd_descriptors, 1);
		assert_int_equal(dev.ninterfaces, 1);
	}
}

static void
too_many_interfaces_are_odd(void **state)
{
	uint8_t bytes[18 + 9 + 9 * (USBDEV_INTERFACES_MAX + 1)] = { 0 };
	struct usbdev dev;
	size_t i, len = 18 + 9;

	(void)state;
	memcpy(bytes, mouse, len);
	for (i = 0; i <= USBDEV_INTERFACES_MAX; i++) {
		memcpy(bytes + len, mouse + INTERFACE, 9);
		bytes[len + 3] = (uint8_t)i; /* bAlternateSetting */
		bytes[len + 7] = (uint8_t)i; /* bInterfaceProtocol */
		len += 9;
		bytes[CONFIG + 2] = (uint8_t)(len - 18);
		bytes[CONFIG + 3] = (uint8_t)((len - 18) >> 8);
		assert_int_equal(parse(&dev, bytes, len), 0);
		assert_int_equal(
		    dev.odd_descriptors, i == USBDEV_INTERFACES_MAX);
	}
	assert_int_equal(dev.ninterfaces, USBDEV_INTERFACES_MAX);
}

/* Nothing but the sanitizers and the end of the loop are looked at. */
static void
any_byte_may_be_anything(void **state)
{
	uint8_t bytes[sizeof(camera)];
	struct usbdev dev;
	unsigned int value;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(camera); i++) {
		for (value = 0; value < 256; value++) {
			memcpy(bytes, camera, sizeof(camera));
			bytes[i] = (uint8_t)value;
			parse(&dev, bytes, sizeof(bytes));
			assert_true(dev.ninterfaces <= USBDEV_INTERFACES_MAX);
		}
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mouse_is_read),
		cmocka_unit_test(all_settings_of_all_configurations_count),
		cmocka_unit_test(what_was_known_before_is_replaced),
		cmocka_unit_test(no_device_descriptor_is_an_error),
		cmocka_unit_test(odd_ones_are_told),
		cmocka_unit_test(each_cut_is_odd),
		cmocka_unit_test(bytes_behind_the_end_are_odd),
		cmocka_unit_test(interfaces_behind_a_lie_count),
		cmocka_unit_test(short_ones_are_odd),
		cmocka_unit_test(too_many_interfaces_are_odd),
		cmocka_unit_test(any_byte_may_be_anything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
