/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef EVENTS_H
#define EVENTS_H

#include <stddef.h>
#include "evejson.h"
#include "msg.h"

/* The events that replay reads, one JSON object a line. */

enum replay_type {
	REPLAY_DEVICE_ADD,
	REPLAY_DEVICE_REMOVE,
	REPLAY_VM_UP,
	REPLAY_VM_DOWN,
	REPLAY_ATTACH_FAILED,
	REPLAY_TICK,
	REPLAY_ADAPTERS,
	REPLAY_DOMAIN,
	REPLAY_DOMAIN_DELETE
};

struct replay_event {
	enum replay_type type;
	struct usbdev device; /* DEVICE_ADD */
	struct usbport port; /* DEVICE_REMOVE, ATTACH_FAILED */
	char vm[MSG_VM_NAME_MAX]; /* VM_UP, VM_DOWN */
	char error[MSG_TEXT_MAX]; /* ATTACH_FAILED */
	uint64_t ms; /* TICK */
	struct bundle_list *adapters; /* ADAPTERS; the caller's */
	struct domain *domain; /* DOMAIN; the caller's */
	char domain_name[MSG_VM_NAME_MAX]; /* DOMAIN_DELETE */
};

/*
 * events_parse: one line of len bytes, without its newline, to ev.  0; or -1
 * with a message in error (of size n) that names the key at fault.
 */
int events_parse(const char *line, size_t len, struct replay_event *ev,
    char *error, size_t n);

#endif
