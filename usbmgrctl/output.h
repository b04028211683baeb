/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef OUTPUT_H
#define OUTPUT_H

#include "json.h"
#include "msg.h"

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

/*
 * output_visible: what a device or a guest has written, made harmless for a
 * terminal, into buf, which is returned.
 */
const char *output_visible(const char *, char *buf, size_t size);

/* output_device_members: all that is known of a device, into an object. */
void output_device_members(struct json *, const struct ctl_device *);

#endif
