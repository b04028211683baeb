/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef FILTER_H
#define FILTER_H

#include <stdint.h>
#include <seccomp.h>
#include "proc.h"

/* Also what a sanitizer's run time needs; for builds with one. */
#define FILTER_SANITIZER 0x01

/*
 * filter_build: the system call filter for a process with these promises
 * (NULL: all that are built in), not loaded.  arch is 0 for this machine or
 * one of libseccomp's SCMP_ARCH_*.  What is not promised is not done and ends
 * the process by SIGSYS (trap.h); calls of another architecture kill it.
 * Names that libseccomp does not know are left out: fewer calls are then
 * allowed, not more.  The caller releases the result with
 * seccomp_release(3).  NULL on error with errno set and *errstr naming the
 * step (static storage).
 */
scmp_filter_ctx filter_build(enum proc_id, const char *promises, uint32_t arch,
    int flags, const char **errstr);

/*
 * filter_enter: build and load; no_new_privs must be set.  0, or -1 as for
 * filter_build.
 */
int filter_enter(
    enum proc_id, const char *promises, int flags, const char **errstr);

/*
 * filter_call_name: of a system call of that architecture (AUDIT_ARCH_*),
 * or its number, into buf.
 */
void filter_call_name(uint32_t arch, int nr, char *buf, size_t size);

#endif
