/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef OUTPUT_H
#define OUTPUT_H

/* How a list is shown: before, for each item, after. */
struct output {
	void (*head)(void);
	void (*item)(const void *);
	void (*tail)(void);
};

extern const struct output output_devices;
extern const struct output output_devices_json;
extern const struct output output_vms;
extern const struct output output_vms_json;

#endif
