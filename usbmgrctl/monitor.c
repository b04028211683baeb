/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "client.h"
#include "log.h"
#include "output.h"
#include "term.h"

/* How often to look for an usbmgrd that has gone. */
#define AGAIN_MICROSECONDS 200000

static int as_json;

/* As in the audit logs, or short and local. */
static void
stamp(uint64_t microseconds, char *buf, size_t size)
{
	time_t t = (time_t)(microseconds / 1000000);
	unsigned int rest = (unsigned int)(microseconds % 1000000);
	char date[32];
	struct tm tm;

	if (as_json) {
		gmtime_r(&t, &tm);
		strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &tm);
		snprintf(buf, size, "%s.%06uZ", date, rest);
	} else {
		localtime_r(&t, &tm);
		strftime(date, sizeof(date), "%H:%M:%S", &tm);
		snprintf(buf, size, "%s.%03u", date, rest / 1000);
	}
}

static uint64_t
now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

static void
print_json(const struct ctl_event *ev, const char *event)
{
	char buf[8192], text[64];
	struct json j;

	json_init(&j, buf, sizeof(buf));
	json_object(&j, NULL);
	stamp(ev->time, text, sizeof(text));
	json_str(&j, "time", text);
	json_str(&j, "event", event);
	if (ev->port.busnum != 0) {
		json_str(&j, "device", usbport_string(&ev->port, text));
		json_num(&j, "devnum", ev->devnum);
	}
	if (ev->vendor != 0 || ev->product != 0 || ev->name[0] != '\0') {
		json_hex16(&j, "vendor", ev->vendor);
		json_hex16(&j, "product", ev->product);
		json_str(&j, "name", ev->name);
	}
	if (ev->vm[0] != '\0')
		json_str(&j, "vm", ev->vm);
	if (ev->state[0] != '\0')
		json_str(&j, "state", ev->state);
	if (ev->request != 0)
		json_num(&j, "request", ev->request);
	if (ev->reason[0] != '\0')
		json_str(&j, "reason", ev->reason);
	json_end(&j, '}');
	if (json_finish(&j) != 0)
		puts(buf);
}

static void
append(char *buf, size_t size, const char *blank, const char *s)
{
	if (s[0] == '\0')
		return;
	strlcat(buf, blank, size);
	strlcat(buf, s, size);
}

static void
print_text(const struct ctl_event *ev, const char *event)
{
	char when[64], port[USBPORT_STRLEN], id[16],
	    text[USBDEV_STRING_MAX + MSG_VM_NAME_MAX + MSG_TEXT_MAX + 64] = "";
	int at;

	stamp(ev->time, when, sizeof(when));
	printf("%s  ", when);
	term_colour(term_state(event));
	at = printf("%-10s", event) + 14;
	term_colour(TERM_PLAIN);
	if (ev->port.busnum != 0)
		append(
		    text, sizeof(text), " ", usbport_string(&ev->port, port));
	if (ev->vendor != 0 || ev->product != 0) {
		snprintf(id, sizeof(id), "%04x:%04x", ev->vendor, ev->product);
		append(text, sizeof(text), " ", id);
	}
	append(text, sizeof(text), " ", ev->name);
	append(text, sizeof(text),
	    ev->type == CTL_EV_ATTACHING || ev->type == CTL_EV_ATTACHED ||
		    ev->type == CTL_EV_OVERRIDE
		? " to "
	    : ev->port.busnum != 0 ? " from "
				   : " ",
	    ev->vm);
	append(text, sizeof(text), " is ", ev->state);
	append(text, sizeof(text), text[0] == '\0' ? " " : ": ", ev->reason);
	term_wrap(text + 1, at, at);
}

static void
print(const struct ctl_event *ev, const char *event)
{
	if (as_json)
		print_json(ev, event);
	else
		print_text(ev, event);
	/* Whoever reads it from a pipe wants it now. */
	if (fflush(stdout) == EOF)
		fatal("standard output");
}

static void
item_event(enum msg_type type, const void *item)
{
	const struct ctl_event *ev = item;

	if (type != MSG_CTL_EVENT)
		client_unexpected(type);
	if (!msg_string_ok(ev->vm, sizeof(ev->vm)) ||
	    !msg_string_ok(ev->state, sizeof(ev->state)) ||
	    !msg_string_ok(ev->name, sizeof(ev->name)) ||
	    !msg_string_ok(ev->reason, sizeof(ev->reason)))
		fatalx("usbmgrd sent a text without end");
	print(ev, ctl_event_string(ev->type));
}

static void
note(const char *event, const char *reason)
{
	struct ctl_event ev;

	memset(&ev, 0, sizeof(ev));
	ev.type = CTL_EVENT_MAX;
	ev.time = now();
	strlcpy(ev.reason, reason, sizeof(ev.reason));
	print(&ev, event);
}

/* Until it is interrupted. */
int
monitor_command(const struct arguments *a)
{
	static const struct msg_none none;
	int fd = client_connect(a);

	as_json = a->json;
	for (;;) {
		note("connected", "events from now on");
		client_watch(fd, MSG_CTL_MONITOR, &none, item_event);
		note("ended", "usbmgrd has ended, or dropped us; waiting");
		/* The one that is about to end would still take us. */
		do
			usleep(AGAIN_MICROSECONDS);
		while ((fd = client_try(a)) == -1);
	}
}
