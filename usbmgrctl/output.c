/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <string.h>
#define LIBBSD_OPENBSD_VIS
#include <vis.h>
#include "json.h"
#include "msg.h"
#include "output.h"
#include "retry.h"

#define NAME_WIDTH 22

static int nitems;

static void
tail_nothing(void)
{
}

const char *
output_visible(const char *s, char *buf, size_t size)
{
	strnvis(buf, s, size, VIS_NOSLASH | VIS_TAB | VIS_NL);
	return buf;
}

static void
head_devices(void)
{
	printf("%-9s %3s %-9s %-*s %-10s %s\n", "DEVICE", "DEV", "ID",
	    NAME_WIDTH, "NAME", "STATE", "MACHINE");
}

static void
item_device(const void *item)
{
	const struct ctl_device *d = item;
	char port[USBPORT_STRLEN], name[4 * NAME_WIDTH + 1],
	    vm[4 * MSG_VM_NAME_MAX], reason[4 * MSG_TEXT_MAX];

	output_visible(d->dev.name, name, sizeof(name));
	printf("%-9s %3u %04x:%04x %-*.*s %-10s %s\n",
	    usbport_string(&d->dev.port, port), d->dev.devnum, d->dev.vendor,
	    d->dev.product, NAME_WIDTH, NAME_WIDTH, name,
	    device_state_string(d->state),
	    d->vm[0] == '\0' ? "-" : output_visible(d->vm, vm, sizeof(vm)));
	printf("%-9s     %s\n", "",
	    output_visible(d->reason, reason, sizeof(reason)));
}

static void
head_vms(void)
{
	printf(
	    "%-20s %-10s %7s  %s\n", "MACHINE", "STATE", "DEVICES", "REASON");
}

static void
item_vm(const void *item)
{
	const struct ctl_vm *v = item;
	char name[4 * MSG_VM_NAME_MAX], reason[4 * MSG_TEXT_MAX];

	printf("%-20s %-10s %7u  %s\n",
	    output_visible(v->name, name, sizeof(name)),
	    vm_state_string(v->state), v->devices,
	    output_visible(v->reason, reason, sizeof(reason)));
}

static void
head_json(void)
{
	putchar('[');
	nitems = 0;
}

static void
tail_json(void)
{
	puts("]");
}

static void
print_json(struct json *j)
{
	if (json_finish(j) == 0)
		return;
	printf("%s\n%s", nitems++ == 0 ? "" : ",", j->buf);
}

static void
json_class(struct json *j, const char *name, const struct usbclass *c)
{
	char text[16];

	snprintf(text, sizeof(text), "%02x:%02x:%02x", c->class, c->subclass,
	    c->protocol);
	json_str(j, name, text);
}

static void
json_hex16(struct json *j, const char *name, unsigned int value)
{
	char text[8];

	snprintf(text, sizeof(text), "%04x", value & 0xffffU);
	json_str(j, name, text);
}

static void
json_str_or_null(struct json *j, const char *name, const char *s)
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
	unsigned int i;

	json_str(j, "device", usbport_string(&d->port, port));
	json_num(j, "devnum", d->devnum);
	json_hex16(j, "vendor", d->vendor);
	json_hex16(j, "product", d->product);
	json_str(j, "name", d->name);
	json_str(j, "serial", d->serial);
	json_str(j, "manufacturer", d->manufacturer);
	json_str(j, "controller", d->controller);
	json_str(j, "speed", usbspeed_string((enum usbspeed)d->speed));
	json_class(j, "class", &d->class);
	json_array(j, "interfaces");
	for (i = 0; i < d->ninterfaces && i < USBDEV_INTERFACES_MAX; i++)
		json_class(j, NULL, &d->interfaces[i]);
	json_end(j, ']');
	json_str_or_null(j, "peer", usbport_string(&d->peer, port));
	json_str_or_null(j, "netif", d->netif);
	json_str_or_null(j, "busy", d->busy);
}

void
output_device_members(struct json *j, const struct ctl_device *d)
{
	json_identity(j, &d->dev);
	json_str(j, "state", device_state_string(d->state));
	json_str_or_null(j, "vm", d->vm);
	json_str_or_null(j, "rule", d->rule);
	json_str(j, "reason", d->reason);
	json_num(j, "request", d->request);
	json_num(j, "guest_port", d->guest_port);
	json_num(j, "retry_ms", d->retry_ms);
	if (d->failed != RESULT_OK && d->failed < RESULT_MAX)
		json_str(j, "retry_when", retry_event((enum result)d->failed));
	else
		json_null(j, "retry_when");
}

static void
item_device_json(const void *item)
{
	char buf[16384];
	struct json j;

	json_init(&j, buf, sizeof(buf));
	json_object(&j, NULL);
	output_device_members(&j, item);
	json_end(&j, '}');
	print_json(&j);
}

static void
item_vm_json(const void *item)
{
	const struct ctl_vm *v = item;
	char buf[4096];
	struct json j;

	json_init(&j, buf, sizeof(buf));
	json_object(&j, NULL);
	json_str(&j, "vm", v->name);
	json_str(&j, "state", vm_state_string(v->state));
	json_num(&j, "devices", v->devices);
	json_str_or_null(&j, "bus", v->bus);
	json_str(&j, "reason", v->reason);
	json_end(&j, '}');
	print_json(&j);
}

const struct output output_devices = { head_devices, item_device,
	tail_nothing };
const struct output output_devices_json = { head_json, item_device_json,
	tail_json };
const struct output output_vms = { head_vms, item_vm, tail_nothing };
const struct output output_vms_json = { head_json, item_vm_json, tail_json };
