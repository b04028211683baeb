/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef QMPID_H
#define QMPID_H

#include <stddef.h>
#include <stdint.h>
#include "usbdev.h"

/*
 * The id that a device has in a machine, "usbmgrd-BUS-CHAIN-DEVNUM-REQUEST"
 * as in "usbmgrd-3-1.2-22-7".  After a restart it is all that tells which
 * device is behind it: QEMU does not say what a passed descriptor was.
 * QEMU 7.2 takes letters, digits, '.', '_' and '-' in an id (util/id.c).
 */
#define QMPID_PREFIX "usbmgrd-"

struct qmpid {
	struct usbport port;
	uint16_t devnum; /* 1 to USB_DEVNUM_MAX */
	uint32_t request; /* from 1 */
};

/* qmpid_format: into buf of size bytes; MSG_ID_MAX are always enough. */
void qmpid_format(const struct qmpid *, char *buf, size_t size);

/*
 * qmpid_parse: 0 if the text is exactly what qmpid_format makes of some
 * valid struct qmpid, which is then filled in; else -1.
 */
int qmpid_parse(struct qmpid *, const char *);

#endif
