/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef TRACE_H
#define TRACE_H

#include <stdint.h>

/*
 * What happened of late.  Only what a failure is about is printed: give the
 * slot and the machine that something concerns, or NOBODY, or ALL.
 */

#define NOBODY (-1)
#define ALL (-2)

void trace(int slot, int qemu, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* trace_fail: print all that helps, and end with status 1. */
void trace_fail(int slot, int qemu, const char *file, int line, const char *fmt,
    ...) __attribute__((format(printf, 5, 6), noreturn));

#define CHECK(cond, slot, qemu, ...)                                      \
	do {                                                              \
		if (!(cond))                                              \
			trace_fail(                                       \
			    slot, qemu, __FILE__, __LINE__, __VA_ARGS__); \
	} while (0)

void trace_clear(void);

#endif
