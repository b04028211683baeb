/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <string.h>
#include "msg.h"

#define MSG_ROW(type, from, to, payload, fd, text) \
	[type] = { #type, from, to, sizeof(payload), fd, #payload, text },
static const struct msg_info msg_table[MSG_MAX] = { MSG_TABLE(MSG_ROW) };
#undef MSG_ROW

const struct msg_info *
msg_info(uint32_t type)
{
	if (type == MSG_FIRST_UNUSED || type >= MSG_MAX)
		return NULL;
	return &msg_table[type];
}

const char *
msg_name(uint32_t type)
{
	const struct msg_info *info = msg_info(type);

	return info == NULL ? "unknown" : info->name;
}

const char *
msg_check(
    enum proc_id from, enum proc_id to, uint32_t type, size_t size, int has_fd)
{
	const struct msg_info *info = msg_info(type);

	if (info == NULL)
		return "no such message";
	if ((info->from & 1U << from) == 0)
		return "not a message of this sender";
	if ((info->to & 1U << to) == 0)
		return "not a message to this receiver";
	if (size != info->size)
		return "wrong size";
	if (info->fd && !has_fd)
		return "without its descriptor";
	if (!info->fd && has_fd)
		return "with a descriptor";
	return NULL;
}

int
msg_string_ok(const char *s, size_t n)
{
	return memchr(s, '\0', n) != NULL;
}

static const char *
name_at(const char *const *names, size_t n, uint32_t value)
{
	return value < n ? names[value] : "unknown";
}

#define NAME_ROW(value, text) [value] = text,

const char *
result_string(uint32_t result)
{
	static const char *const names[] = { RESULT_TABLE(NAME_ROW) };

	return name_at(names, RESULT_MAX, result);
}

const char *
vm_state_string(uint32_t state)
{
	static const char *const names[] = { VM_STATE_TABLE(NAME_ROW) };

	return name_at(names, VM_STATE_MAX, state);
}

const char *
device_state_string(uint32_t state)
{
	static const char *const names[] = { DEVICE_STATE_TABLE(NAME_ROW) };

	return name_at(names, DEVICE_STATE_MAX, state);
}

const char *
ctl_event_string(uint32_t event)
{
	static const char *const names[] = { CTL_EVENT_TABLE(NAME_ROW) };

	return name_at(names, CTL_EVENT_MAX, event);
}
