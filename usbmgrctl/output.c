/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <string.h>
#include "json.h"
#include "msg.h"
#include "output.h"
#include "retry.h"

void
output_str_or_null(struct json *j, const char *name, const char *s)
{
	if (s[0] == '\0')
		json_null(j, name);
	else
		json_str(j, name, s);
}

static void
json_identity(struct json *j, const struct usbdev *d)
{
	char port[USBPORT_STRLEN];

	json_str(j, "device", usbport_string(&d->port, port));
	json_num(j, "devnum", d->devnum);
	json_hex16(j, "vendor", d->vendor);
	json_hex16(j, "product", d->product);
	json_str(j, "name", d->name);
	json_str(j, "serial", d->serial);
	json_str(j, "manufacturer", d->manufacturer);
	json_str(j, "controller", d->controller);
	json_str(j, "speed", usbspeed_string((enum usbspeed)d->speed));
	usbdev_json_classes(j, d);
	output_str_or_null(j, "peer", usbport_string(&d->peer, port));
	output_str_or_null(j, "netif", d->netif);
	output_str_or_null(j, "busy", d->busy);
}

void
output_device_members(struct json *j, const struct ctl_device *d)
{
	json_identity(j, &d->dev);
	json_str(j, "state", device_state_string(d->state));
	output_str_or_null(j, "vm", d->vm);
	output_str_or_null(j, "rule", d->rule);
	json_str(j, "reason", d->reason);
	json_num(j, "request", d->request);
	json_num(j, "guest_port", d->guest_port);
	json_num(j, "retry_ms", d->retry_ms);
	if (d->failed != RESULT_OK && d->failed < RESULT_MAX)
		json_str(j, "retry_when", retry_event((enum result)d->failed));
	else
		json_null(j, "retry_when");
	output_str_or_null(j, "override",
	    d->override == OVERRIDE_ATTACH   ? "attach"
	    : d->override == OVERRIDE_DETACH ? "detach"
					     : "");
}

void
output_vm_members(struct json *j, const struct ctl_vm *v)
{
	json_str(j, "vm", v->name);
	json_str(j, "state", vm_state_string(v->state));
	json_num(j, "devices", v->devices);
	output_str_or_null(j, "bus", v->bus);
	json_str(j, "reason", v->reason);
}

static int nitems;

void
output_list_begin(void)
{
	putchar('[');
	nitems = 0;
}

void
output_list_item(struct json *j)
{
	if (json_finish(j) != 0)
		printf("%s\n%s", nitems++ == 0 ? "" : ",", j->buf);
}

void
output_list_end(void)
{
	puts("]");
}
