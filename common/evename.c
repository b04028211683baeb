/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <string.h>
#include "evename.h"
#include "msg.h"

int
evename_ok(const char *name)
{
	size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyz"
				"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	return n > 0 && name[n] == '\0' && n < MSG_VM_NAME_MAX &&
	       n < MSG_KEY_MAX && name[0] != '.';
}
