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
#define COUNTER_TABLE(X)                                                 \
	X(COUNT_PLUGGED, "devices_plugged", COUNTER, NULL,               \
	    "Devices that were plugged in, or there at the start")       \
	X(COUNT_UNPLUGGED, "devices_unplugged", COUNTER, NULL,           \
	    "Devices that were unplugged")                               \
	X(COUNT_ATTACHES, "attaches", COUNTER, NULL,                     \
	    "Devices that a machine was asked to take")                  \
	X(COUNT_ATTACHED, "attached", COUNTER, NULL,                     \
	    "Devices that a machine took")                               \
	X(COUNT_ATTACH_TIME, "attach", MILLISECONDS, NULL,               \
	    "Time from asking to taking, all of them together")          \
	X(COUNT_FAILURES, "attach_failures", COUNTER, "class",           \
	    "Devices that a machine did not take")                       \
	X(COUNT_DETACHES, "detaches", COUNTER, NULL,                     \
	    "Devices that a machine was asked to give back")             \
	X(COUNT_DETACHED, "detached", COUNTER, NULL,                     \
	    "Devices that a machine gave back")                          \
	X(COUNT_HOLDS, "holds", COUNTER, NULL,                           \
	    "Decisions that no machine gets a device")                   \
	X(COUNT_RELEASES, "releases", COUNTER, NULL,                     \
	    "Devices of machines that died, back to the host's drivers") \
	X(COUNT_OVERRIDES, "overrides", COUNTER, NULL,                   \
	    "Devices attached, detached or released by hand")            \
	X(COUNT_POLICIES, "policies", COUNTER, NULL,                     \
	    "Policies that were loaded")                                 \
	X(COUNT_REQUESTS, "control_requests", COUNTER, NULL,             \
	    "Requests of control clients")                               \
	X(COUNT_REFUSED, "control_refused", COUNTER, NULL,               \
	    "Control clients and requests that were refused")            \
	X(COUNT_LOST, "audit_lines_lost", COUNTER, NULL,                 \
	    "Lines that the engine could not write to its log")          \
	X(GAUGE_CLIENTS, "control_clients", GAUGE, NULL,                 \
	    "Control clients that are connected")                        \
	X(GAUGE_RULES, "rules", GAUGE, NULL, "Rules of the policy")      \
	X(GAUGE_DEVICES, "devices", GAUGE, "state", "Plugged devices")   \
	X(GAUGE_VMS, "vms", GAUGE, "state", "Machines of the policy")    \
	X(GAUGE_VM_DEVICES, "vm_devices", GAUGE, "vm",                   \
	    "Devices that a machine has")                                \
	X(GAUGE_STARTED, "start_time", SECONDS, NULL,                    \
	    "When the engine was started, since the epoch")

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
