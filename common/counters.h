/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef COUNTERS_H
#define COUNTERS_H

#include <stdint.h>

/*
 * What usbmgrctl show counters shows: one table for the engine that counts,
 * the tool that prints, and the manual.  A counter only grows while the
 * engine runs, a gauge tells how it is now.  Names are without the prefix
 * usbmgrd_ and the suffixes that OpenMetrics wants.
 *
 * X(family, name, type, label or NULL, help)
 */
#define COUNTER_TABLE(X)                                                       \
	X(COUNT_PLUGGED, "devices_plugged", COUNTER, NULL,                     \
	    "Devices plugged in, or there at the start")                       \
	X(COUNT_UNPLUGGED, "devices_unplugged", COUNTER, NULL,                 \
	    "Devices unplugged")                                               \
	X(COUNT_ATTACHES, "attaches", COUNTER, NULL,                           \
	    "Machines were asked to take a device")                            \
	X(COUNT_ATTACHED, "attached", COUNTER, NULL, "Machines took a device") \
	X(COUNT_ATTACH_TIME, "attach", MILLISECONDS, NULL,                     \
	    "Time that this took, all together")                               \
	X(COUNT_FAILURES, "attach_failures", COUNTER, "class",                 \
	    "Machines did not take a device")                                  \
	X(COUNT_DETACHES, "detaches", COUNTER, NULL,                           \
	    "Machines were asked to give one back")                            \
	X(COUNT_DETACHED, "detached", COUNTER, NULL, "Machines gave one back") \
	X(COUNT_HOLDS, "holds", COUNTER, NULL,                                 \
	    "Decisions that no machine gets a device")                         \
	X(COUNT_RELEASES, "releases", COUNTER, NULL,                           \
	    "Devices of dead machines, back to drivers")                       \
	X(COUNT_OVERRIDES, "overrides", COUNTER, NULL,                         \
	    "Devices moved or released by hand")                               \
	X(COUNT_POLICIES, "policies", COUNTER, NULL, "Policies loaded")        \
	X(COUNT_REQUESTS, "control_requests", COUNTER, NULL,                   \
	    "Requests of control clients")                                     \
	X(COUNT_REFUSED, "control_refused", COUNTER, NULL,                     \
	    "Control clients or requests refused")                             \
	X(COUNT_LOST, "audit_lines_lost", COUNTER, NULL,                       \
	    "Lines lost from the log of the engine")                           \
	X(GAUGE_CLIENTS, "control_clients", GAUGE, NULL,                       \
	    "Control clients connected")                                       \
	X(GAUGE_RULES, "rules", GAUGE, NULL, "Rules of the policy")            \
	X(GAUGE_DEVICES, "devices", GAUGE, "state", "Plugged devices")         \
	X(GAUGE_VMS, "vms", GAUGE, "state", "Machines of the policy")          \
	X(GAUGE_VM_DEVICES, "vm_devices", GAUGE, "vm",                         \
	    "Devices that a machine has")                                      \
	X(GAUGE_STARTED, "start_time", SECONDS, NULL,                          \
	    "Start of the engine, since the epoch")

#define COUNTER_ENUM(family, name, type, label, help) family,
enum counter_family {
	COUNTER_TABLE(COUNTER_ENUM) COUNTER_MAX
};
#undef COUNTER_ENUM

#define COUNTERS \
	(COUNT_LOST + 1) /* those that are kept; the rest is looked up */

enum counter_type {
	COUNTER,
	MILLISECONDS, /* a counter of time */
	GAUGE,
	SECONDS /* a gauge of time */
};

struct counter_info {
	const char *name;
	enum counter_type type;
	const char *label; /* NULL: none */
	const char *help;
};

/* counter_info: row of the table, or NULL. */
const struct counter_info *counter_info(uint32_t family);

#endif
