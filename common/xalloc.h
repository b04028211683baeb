/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef XALLOC_H
#define XALLOC_H

#include <stddef.h>

/*
 * xcalloc, xstrdup: calloc(3), also of nothing, and strdup(3), the caller's to
 * free(3); the process ends when there is no memory.
 */
void *xcalloc(size_t n, size_t size);
char *xstrdup(const char *);

#endif
