/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef DESCRIPTORS_H
#define DESCRIPTORS_H

#include <stddef.h>
#include <stdint.h>
#include "usbdev.h"

/*
 * Most bytes that sysfs gives: the device descriptor and all configurations
 * (drivers/usb/core/sysfs.c, dev_bin_attr_descriptors).
 */
#define DESCRIPTORS_MAX (18 + 65535)

/*
 * descriptors_parse: take vendor, product, revision, class, interfaces (all
 * settings of all configurations), digest, compat and odd_descriptors of the
 * record from the len raw bytes of sysfs's "descriptors": the device
 * descriptor, then each configuration as the device gave it.  Other members are
 * left alone.  Returns 0; or -1 if not even a device descriptor is there, the
 * record is then unchanged.
 *
 * odd_descriptors is set when the bytes are not what USB 2.0 chapter 9 says,
 * as far as programs that parse them are known to come to harm.  Interfaces
 * are collected even then, as long as one descriptor leads to the next.
 */
int descriptors_parse(struct usbdev *, const uint8_t *, size_t len);

#endif
