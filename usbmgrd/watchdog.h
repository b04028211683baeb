/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef WATCHDOG_H
#define WATCHDOG_H

/*
 * watchdog_start: where the service manager has a watchdog, feed it as long
 * as all children answer; those that do not are ended, to be started again.
 * Else nothing ever wakes up for it.
 */
void watchdog_start(void);

#endif
