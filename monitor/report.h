/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef REPORT_H
#define REPORT_H

#include <stdint.h>
#include "usbdev.h"

/* What the monitor writes into its audit log. */

/* report_device: a device that is new or changed. */
void report_device(const struct usbdev *);

/* report_gone: a device that is gone, by that uevent, or 0. */
void report_gone(const struct usbdev *, uint64_t uevent);

/*
 * report_scan: all devices were looked at; why is "start" or "overflow",
 * ms how long it took.
 */
void report_scan(const char *why, unsigned int devices, uint64_t ms);

/* report_overflow: uevents were lost. */
void report_overflow(void);

#endif
