/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stddef.h>
#include <string.h>

#include "errors.h"

/* The first row counts whose prefix starts desc and whose part is in it. */
static const struct error_row {
	const char *prefix;
	const char *part; /* NULL: nothing more is asked */
	enum result result;
} error_table[] = {
	/* 7.2; 10.0 says "Could not open '...'" and "Failed to find ..." */
	{ "failed to find host usb device ", NULL, RESULT_GONE },
	{ "failed to open host usb device ", NULL, RESULT_UNOPENED },
	{ "failed to open /dev/fdset/", ": No such file", RESULT_OTHER },
	{ "failed to open ", ": No such file", RESULT_GONE },
	{ "failed to open ", ": No such device", RESULT_GONE },
	{ "failed to open ", ": Permission denied", RESULT_PERMISSION },
	{ "failed to open ", ": Operation not permitted", RESULT_PERMISSION },
	{ "Could not open ", ": No such file", RESULT_GONE },
	{ "Could not open ", ": No such device", RESULT_GONE },
	{ "Could not open ", ": Permission denied", RESULT_PERMISSION },
	{ "Could not open ", ": Operation not permitted", RESULT_PERMISSION },
	{ "Failed to find file descriptor ", NULL, RESULT_PERMISSION },
	/* both */
	{ "usb port ", " not found (in use?)", RESULT_PORT_TAKEN },
	{ "tried to attach usb device ", " no free ports", RESULT_BUS_FULL },
	{ "Duplicate device ID ", NULL, RESULT_DUPLICATE },
	{ "Bus '", "' not found", RESULT_NO_CONTROLLER },
	{ "No 'usb-bus' bus found ", NULL, RESULT_NO_CONTROLLER },
	{ "Device 'usb-host' can't go on ", NULL, RESULT_NO_CONTROLLER },
	{ "Warning: speed mismatch ", NULL, RESULT_SPEED },
	/* what no other try makes better */
	{ "'usb-host' is not a valid device model ", NULL, RESULT_UNABLE },
	{ "failed to init libusb", NULL, RESULT_UNABLE },
	{ "Property 'usb-host.", "' not found", RESULT_UNABLE },
	{ "Parameter '", "expects ", RESULT_UNABLE },
	{ "Invalid parameter type for '", NULL, RESULT_UNABLE },
	{ "hostbus out of range", NULL, RESULT_UNABLE },
	{ "hostaddr out of range", NULL, RESULT_UNABLE },
	{ "vendorid out of range", NULL, RESULT_UNABLE },
	{ "productid out of range", NULL, RESULT_UNABLE },
	{ "device_add not allowed while migrating", NULL, RESULT_MIGRATING },
	{ "device_del not allowed while migrating", NULL, RESULT_MIGRATING },
};

enum result
qmp_error_result(const char *class, const char *desc)
{
	const struct error_row *row;
	size_t i, n;

	if (strcmp(class, QMP_CLASS_NOT_FOUND) == 0)
		return RESULT_GONE;
	if (strcmp(class, QMP_CLASS_NO_COMMAND) == 0)
		return RESULT_UNABLE;
	for (i = 0; i < sizeof(error_table) / sizeof(error_table[0]); i++) {
		row = &error_table[i];
		n = strlen(row->prefix);
		if (strncmp(desc, row->prefix, n) != 0)
			continue;
		if (row->part == NULL || strstr(desc + n, row->part) != NULL)
			return row->result;
	}
	return RESULT_OTHER;
}
