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

#include "errors.h"

#define GENERIC "GenericError"

/* Every answer that QEMU 7.2 and 10.0 were seen to give, and what we do. */
static const struct row {
	const char *class;
	const char *desc;
	enum result result;
} rows[] = {
	/* both versions */
	{ GENERIC, "failed to find host usb device 1:2", RESULT_GONE },
	{ GENERIC, "failed to open host usb device 1:2", RESULT_UNOPENED },
	{ GENERIC, "failed to open host usb device /dev/fdset/7",
	    RESULT_UNOPENED },
	{ GENERIC, "usb port 3 (bus xhci.0) not found (in use?)",
	    RESULT_PORT_TAKEN },
	{ GENERIC,
	    "tried to attach usb device USB Host Device to a bus with no "
	    "free ports",
	    RESULT_BUS_FULL },
	{ GENERIC, "Duplicate device ID 'u2'", RESULT_DUPLICATE },
	{ GENERIC, "Bus 'nope.0' not found", RESULT_NO_CONTROLLER },
	{ GENERIC, "Device 'usb-host' can't go on PCIE bus",
	    RESULT_NO_CONTROLLER },
	{ GENERIC, "No 'usb-bus' bus found for device 'usb-host'",
	    RESULT_NO_CONTROLLER },
	{ GENERIC, "Property 'usb-host.bogus' not found", RESULT_UNABLE },
	{ GENERIC, "hostaddr out of range", RESULT_UNABLE },
	{ GENERIC, "vendorid out of range", RESULT_UNABLE },
	{ GENERIC, "productid out of range", RESULT_UNABLE },
	{ GENERIC, "'usb-host' is not a valid device model name",
	    RESULT_UNABLE },
	{ GENERIC, "Parameter 'id' expects an identifier", RESULT_UNABLE },
	{ GENERIC, "Parameter 'hostaddr' expects uint64", RESULT_UNABLE },
	{ GENERIC, "Invalid parameter type for 'port', expected: string",
	    RESULT_UNABLE },
	{ GENERIC,
	    "Invalid parameter type for 'guest-reset', expected: boolean",
	    RESULT_UNABLE },
	{ GENERIC, "failed to init libusb", RESULT_UNABLE },
	{ GENERIC, "device_add not allowed while migrating", RESULT_MIGRATING },
	{ GENERIC, "device_del not allowed while migrating", RESULT_MIGRATING },
	{ QMP_CLASS_NOT_FOUND, "Device 'u2' not found", RESULT_GONE },
	{ GENERIC,
	    "Warning: speed mismatch trying to attach usb device \"x\" (full "
	    "speed) to bus \"ehci.0\", port \"1\" (high speed)",
	    RESULT_SPEED },
	{ GENERIC, "No file descriptor supplied via SCM_RIGHTS", RESULT_OTHER },
	{ QMP_CLASS_NO_COMMAND, "The command nope has not been found",
	    RESULT_UNABLE },
	/* 7.2 */
	{ GENERIC,
	    "failed to open /dev/bus/usb/001/002: No such file or directory",
	    RESULT_GONE },
	{ GENERIC, "failed to open /dev/bus/usb/001/002: No such device",
	    RESULT_GONE },
	{ GENERIC, "failed to open /dev/bus/usb/001/002: Permission denied",
	    RESULT_PERMISSION },
	{ GENERIC, "failed to open /dev/fdset/5: No such file or directory",
	    RESULT_OTHER },
	{ GENERIC, "failed to open /dev/fdset/30: Permission denied",
	    RESULT_PERMISSION },
	/* 10.0 */
	{ GENERIC,
	    "Could not open '/dev/bus/usb/001/002': No such file or "
	    "directory",
	    RESULT_GONE },
	{ GENERIC, "Could not open '/dev/bus/usb/001/002': Permission denied",
	    RESULT_PERMISSION },
	{ GENERIC, "Failed to find fdset /dev/fdset/5", RESULT_OTHER },
	{ GENERIC, "Failed to find file descriptor with matching flags=0x2",
	    RESULT_PERMISSION },
	/* what a device may have chosen decides nothing */
	{ GENERIC, "Duplicate", RESULT_OTHER },
	{ GENERIC, "x Duplicate device ID 'u2'", RESULT_OTHER },
	{ GENERIC, "", RESULT_OTHER },
	{ "", "", RESULT_OTHER },
};

static void
every_row(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (qmp_error_result(rows[i].class, rows[i].desc) !=
		    rows[i].result)
			fail_msg("%s: not %s", rows[i].desc,
			    result_string(rows[i].result));
}

int
main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
