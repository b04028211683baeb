/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef NAMES_H
#define NAMES_H

#include <stddef.h>
#include "msg.h"

/*
 * How people call a device: by its port, "3:9", or "3-9" as the kernel does;
 * by vendor and product, "045e:0823"; by its name, or a part of that.
 */

/*
 * names_port: "3:9" or "3-9" to port.  0; or -1 with *errstr saying what was
 * expected.
 */
int names_port(const char *, struct usbport *port, const char **errstr);

/*
 * names_match: the devices of the list of n that are meant, as places in the
 * list into found, which has room for n.  Returns how many: more than one if
 * the word is not clear.
 */
size_t names_match(
    const char *word, const struct ctl_device *, size_t n, size_t *found);

struct arguments;

/*
 * names_device: ask usbmgrd for the device that is meant.  Ends the process
 * with a message, which lists them if it may be one of several.
 */
void names_device(
    const struct arguments *, const char *word, struct ctl_device *);

/* names_devices: all that are plugged, for the caller to free; *n of them. */
struct ctl_device *names_devices(const struct arguments *, size_t *n);

#endif
