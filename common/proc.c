/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stddef.h>
#include "proc.h"

const struct proc proc_table[PROC_MAX] = {
	[PROC_PARENT] = { "usbmgrd", NULL, "usbmgrd", "usbmgrd.log" },
	[PROC_ENGINE] = { "engine", "_usbmgrd-engine", "usbmgrd",
	    "engine.log" },
	[PROC_MONITOR] = { "monitor", "_usbmgrd-monitor", "usbmgrd-monitor",
	    "monitor.log" },
	[PROC_QMPCLIENT] = { "qmpclient", "_usbmgrd-qmp", "usbmgrd-qmpclient",
	    "qmpclient.log" },
	[PROC_CLIENT] = { "client", NULL, NULL, NULL },
	[PROC_SPAWNER] = { "spawner", NULL, NULL, NULL },
};

const char *
proc_name(enum proc_id proc)
{
	if ((unsigned int)proc >= PROC_MAX)
		return "unknown";
	return proc_table[proc].name;
}
