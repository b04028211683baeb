/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef NOTIFY_H
#define NOTIFY_H

#include <stdint.h>

/*
 * What the service manager is told, as of sd_notify(3): datagrams of lines
 * NAME=VALUE to the socket that it names in the environment.  Nothing here
 * has an effect without one.
 */

/*
 * notify_init: connect to the socket of $NOTIFY_SOCKET, while that is
 * allowed; the descriptor is close-on-exec.  Failure is a warning.
 */
void notify_init(void);

/* notify: tell it these lines, at most 256 bytes; never waits. */
void notify(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/*
 * notify_reloading: a reload begins; to be followed by notify("READY=1")
 * when it is over, whatever came of it.
 */
void notify_reloading(void);

/*
 * notify_watchdog_ms: how often "WATCHDOG=1" is expected, in milliseconds; 0
 * if it is not.
 */
uint64_t notify_watchdog_ms(void);

#endif
