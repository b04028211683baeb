/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef PEER_H
#define PEER_H

#include <stdint.h>

/*
 * Machines that answer each QMP command at once, as a QEMU with an empty
 * xHCI controller would, and note when they are told to take a device.
 */

enum heard {
	HEARD_ADD, /* device_add */
	HEARD_DONE, /* remove-fd, which follows it */
	HEARD_DEL, /* device_del */
	HEARD_MAX
};

/* peer_now: nanoseconds of a clock that does not jump. */
uint64_t peer_now(void);

/* peer_listen: one more machine, on a socket at path; ends if it cannot. */
void peer_listen(const char *path);

/*
 * peer_wait: serve all machines until that was heard, since peer_forget, or
 * for ms.  Returns when it was read, by peer_now(), or 0.  HEARD_MAX: serve
 * for ms.
 */
uint64_t peer_wait(enum heard, int ms);

/* peer_forget: nothing was heard yet. */
void peer_forget(void);

#endif
