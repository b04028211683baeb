/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include "audit.h"
#include "log.h"
#include "report.h"

static void
hex16(struct json *j, const char *name, unsigned int value)
{
	char buf[8];

	snprintf(buf, sizeof(buf), "%04x", value & 0xffff);
	json_str(j, name, buf);
}

static void class(struct json *j, const char *name, const struct usbclass *c)
{
	char buf[16];

	snprintf(buf, sizeof(buf), "%02x:%02x:%02x", c->class, c->subclass,
	    c->protocol);
	json_str(j, name, buf);
}

/* All but the names it gives itself. */
static void
identity(struct json *j, const struct usbdev *d, uint64_t uevent)
{
	char port[USBPORT_STRLEN];

	json_num(j, "uevent", (int64_t)uevent);
	json_str(j, "device", usbport_string(&d->port, port));
	json_num(j, "devnum", d->devnum);
	hex16(j, "vendor", d->vendor);
	hex16(j, "product", d->product);
}

static void
interfaces(struct json *j, const struct usbdev *d)
{
	unsigned int i;

	json_array(j, "interfaces");
	for (i = 0; i < d->ninterfaces; i++)
		class(j, NULL, &d->interfaces[i]);
	json_end(j, ']');
}

void
report_device(const struct usbdev *d)
{
	struct json *j;
	char peer[USBPORT_STRLEN];

	j = audit_begin("device");
	identity(j, d, d->uevent);
	hex16(j, "revision", d->revision);
	json_str(j, "name", d->name);
	json_str(j, "manufacturer", d->manufacturer);
	json_str(j, "serial", d->serial);
	class(j, "class", &d->class);
	interfaces(j, d);
	json_str(j, "speed", usbspeed_string((enum usbspeed)d->speed));
	json_str(j, "controller", d->controller);
	json_str(j, "peer", usbport_string(&d->peer, peer));
	json_bool(j, "odd_descriptors", d->odd_descriptors);
	json_str(j, "net", d->netif);
	json_str(j, "busy", d->busy);
	json_str(j, "busy_why", d->busy_why);
	json_hex(j, "digest", d->digest, sizeof(d->digest));
	audit_end();
}

void
report_gone(const struct usbdev *d, uint64_t uevent)
{
	struct json *j;

	j = audit_begin("device-gone");
	identity(j, d, uevent);
	audit_end();
}

void
report_scan(const char *why, unsigned int devices, uint64_t ms)
{
	struct json *j;

	j = audit_begin("scan");
	json_str(j, "why", why);
	json_num(j, "devices", devices);
	json_num(j, "ms", (int64_t)ms);
	audit_end();
}

void
report_overflow(void)
{
	struct json *j;

	j = audit_begin("overflow");
	json_str(j, "what", "uevents were lost, so all devices are read again");
	audit_end();
}
