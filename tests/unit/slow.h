/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef SLOW_H
#define SLOW_H

#include <stdlib.h>

/*
 * slow: by how much what takes time may take longer than usual; more than 1
 * under valgrind, which also has its own idea of some limits.
 */
static inline unsigned int
slow(void)
{
	return getenv("USBMGRD_TEST_VALGRIND") == NULL ? 1 : 10;
}

#endif
