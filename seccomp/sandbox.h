/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef SANDBOX_H
#define SANDBOX_H

#include <stddef.h>
#include "landlock.h"
#include "proc.h"

/*
 * sandbox_enter: set no_new_privs, give up the capabilities that the process
 * does not need (caps.h), deny the file system but for dirs by Landlock where
 * the kernel has that (landlock.h; not of the spawner, whose children could not
 * mount then), and load its system call filter.  From then on a call that its
 * promises do not hold ends the process.  promises: words that narrow what is
 * built in, or NULL.  Returns 0; or -1 with *errstr naming the step that failed
 * (errno set), and the process must end.
 */
int sandbox_enter(enum proc_id, const char *promises,
    const struct landlock_dir *dirs, const char **errstr);

/*
 * sandbox_no_dump: no core dump, and no ptrace(2) by others than root.  A
 * change of user takes the first back.  0, or -1 as sandbox_enter.
 */
int sandbox_no_dump(const char **errstr);

/* sandbox_landlock: did the last sandbox_enter use Landlock? For the log. */
const char *sandbox_landlock(void);

/*
 * sandbox_promises: the built-in promises of a process, words separated by
 * blanks; NULL if it has none.
 */
const char *sandbox_promises(enum proc_id);

/*
 * sandbox_check_promises: may words narrow what is built in for the process?
 * 0, or -1 and word (of size n) is the first one that may not stand there.
 */
int sandbox_check_promises(
    enum proc_id, const char *words, char *word, size_t n);

/* sandbox_same_promises: 1 if both have the same words, in whatever order. */
int sandbox_same_promises(const char *, const char *);

#endif
