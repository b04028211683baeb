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
	REPLAY_DOMAIN_DELETE,
	/* of audit logs only */
	REPLAY_SKIP, /* a line that says nothing to the engine's core */
	REPLAY_START,
	REPLAY_POLICY,
	REPLAY_SCAN_DONE,
	REPLAY_EVE_BEGIN,
	REPLAY_EVE_END,
	REPLAY_EVE_ADAPTERS, /* and so many bundles follow */
	REPLAY_EVE_BUNDLE,
	REPLAY_EVE_ADAPTERS_GONE,
	REPLAY_EVE_ADAPTERS_UNREAD,
	REPLAY_EVE_DOMAIN, /* and so many adapters */
	REPLAY_EVE_ADAPTER,
	REPLAY_EVE_DOMAIN_GONE,
	REPLAY_EVE_DOMAIN_UNREAD,
	REPLAY_VM_LEAVING,
	REPLAY_VM_SOCKET,
	REPLAY_VM_HAS,
	REPLAY_VM_DROPPED,
	REPLAY_VM_STATE,
	REPLAY_VM_FOREIGN,
	REPLAY_VM_PORT,
	REPLAY_RESULT,
	REPLAY_SCAN,
	REPLAY_QMPCLIENT_LOST,
	REPLAY_REQUESTS,
	REPLAY_OVERRIDE,
	REPLAY_ACTION /* what the engine did then */
};

struct replay_event {
	enum replay_type type;
	struct usbdev device; /* DEVICE_ADD */
	struct usbport port; /* DEVICE_REMOVE, ATTACH_FAILED */
	char vm[MSG_VM_NAME_MAX]; /* VM_UP, VM_DOWN */
	char error[MSG_TEXT_MAX]; /* ATTACH_FAILED */
	uint64_t ms; /* TICK */
	int audit; /* it is a line of an audit log */
	uint64_t at; /* the engine's time */
	uint8_t hash[AUDIT_HASH_LEN]; /* POLICY */
	uint32_t release; /* VM_LEAVING */
	struct msg_vm_socket socket; /* VM_SOCKET, without the machine */
	struct msg_vm_has has; /* VM_HAS, VM_DROPPED, the same */
	struct msg_vm_state state; /* VM_STATE, the same */
	struct msg_result result; /* RESULT, the same */
	struct msg_vm_foreign foreign; /* VM_FOREIGN, the same */
	struct msg_vm_number number; /* VM_PORT, the same */
	char command[16]; /* OVERRIDE, ACTION */
	int left; /* the machine has left the policy */
	int force; /* OVERRIDE */
	uint32_t uid; /* OVERRIDE */
	int64_t count; /* EVE_ADAPTERS, EVE_DOMAIN */
	int64_t eve_state; /* EVE_DOMAIN */
	char eve_file[MSG_KEY_MAX]; /* EVE_DOMAIN, and the like */
	char eve_text[BUNDLE_TEXTS][BUNDLE_TEXT_MAX];
	char reason[MSG_TEXT_MAX]; /* ACTION */
	struct bundle_list *adapters; /* ADAPTERS; the caller's */
	struct domain *domain; /* DOMAIN; the caller's */
	char domain_name[MSG_VM_NAME_MAX]; /* DOMAIN_DELETE */
};

/*
 * A line of the engine's audit log is told by the members that each of them
 * has and no other event: "seq" and "prev".  What it says to the core is
 * understood, everything else is REPLAY_SKIP.
 */

/*
 * events_parse: one line of len bytes, without its newline, to ev.  0; or -1
 * with a message in error (of size n) that names the key at fault.
 */
int events_parse(const char *line, size_t len, struct replay_event *ev,
    char *error, size_t n);

#endif
