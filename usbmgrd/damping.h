/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef DAMPING_H
#define DAMPING_H

#include <stdio.h>
#include "msg.h"

/*
 * The damping statement of usbmgrd.conf(5): when a port flaps, and how long
 * a device has to stay there then before a machine gets it.
 */

/* damping_default: what counts when the file says nothing. */
struct damping damping_default(void);

/*
 * damping_parse: "off", or "PLUGS/SECONDS" with the seconds to stay, which
 * are the default ones if hold is NULL.  NULL, or what was expected.
 */
const char *damping_parse(const char *rate, const char *hold, struct damping *);

/* damping_valid: 1 if all is in range, as from damping_parse. */
int damping_valid(const struct damping *);

/* damping_print: the statement, with its newline; nothing for the default. */
void damping_print(const struct damping *, FILE *);

#endif
