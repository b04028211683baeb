/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include "audit.h"
#include "report.h"

/* All but the names it gives itself. */
static void
identity(struct json *j, const struct usbdev *d, uint64_t uevent)
{
	char port[USBPORT_STRLEN];

	json_num(j, "uevent", (int64_t)uevent);
	json_str(j, "device", usbport_string(&d->port, port));
	json_num(j, "devnum", d->devnum);
	json_hex16(j, "vendor", d->vendor);
	json_hex16(j, "product", d->product);
}

void
report_device(const struct usbdev *d)
{
	struct json *j;
	char peer[USBPORT_STRLEN];

	j = audit_begin("device");
	identity(j, d, d->uevent);
	json_hex16(j, "revision", d->revision);
	json_str(j, "name", d->name);
	json_str(j, "manufacturer", d->manufacturer);
	json_str(j, "serial", d->serial);
	usbdev_json_classes(j, d);
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
