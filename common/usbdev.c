/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "json.h"
#include "msg.h"
#include "usbdev.h"

static const char *const speed_names[USB_SPEED_MAX] = {
	[USB_SPEED_UNKNOWN] = "",
	[USB_SPEED_LOW] = "1.5",
	[USB_SPEED_FULL] = "12",
	[USB_SPEED_HIGH] = "480",
	[USB_SPEED_SUPER] = "5000",
};

/* Decimal digits at *s up to max; moves *s; 0 if there are none or too many */
static unsigned int
digits(const char **s, unsigned int max)
{
	unsigned int n = 0;

	if (**s < '0' || **s > '9')
		return 0;
	for (; **s >= '0' && **s <= '9'; (*s)++) {
		n = n * 10 + (unsigned int)(**s - '0');
		if (n > max)
			return 0;
	}
	return n;
}

int
usbport_parse_chain(struct usbport *port, const char *s, const char **errstr)
{
	unsigned int n;

	port->depth = 0;
	memset(port->chain, 0, sizeof(port->chain));
	for (;;) {
		if ((n = digits(&s, 255)) == 0) {
			*errstr = "a port is a number from 1 to 255, behind "
				  "hubs several with dots, as in 1.2";
			return -1;
		}
		if (port->depth == USB_CHAIN_MAX) {
			*errstr = "more than 6 ports in a row";
			return -1;
		}
		port->chain[port->depth++] = (uint8_t)n;
		if (*s == '\0')
			return 0;
		if (*s++ != '.') {
			*errstr = "ports are numbers with dots, as in 1.2";
			return -1;
		}
	}
}

int
usbport_parse(struct usbport *port, const char *s, const char **errstr)
{
	memset(port, 0, sizeof(*port));
	port->busnum = (uint16_t)digits(&s, USB_BUSNUM_MAX);
	if (port->busnum == 0) {
		*errstr = "a bus is a number from 1 to 999, as in 3:9";
		return -1;
	}
	if (*s++ != ':') {
		*errstr = "bus and port have a colon between them, as in 3:9";
		return -1;
	}
	return usbport_parse_chain(port, s, errstr);
}

int
usbport_parse_sysfs(struct usbport *port, const char *s)
{
	const char *errstr;

	memset(port, 0, sizeof(*port));
	port->busnum = (uint16_t)digits(&s, USB_BUSNUM_MAX);
	if (port->busnum == 0 || *s++ != '-')
		return -1;
	return usbport_parse_chain(port, s, &errstr);
}

const char *
usbport_string(const struct usbport *port, char *buf)
{
	size_t len;
	unsigned int i;

	buf[0] = '\0';
	if (port->busnum == 0)
		return buf;
	snprintf(buf, USBPORT_STRLEN, "%u:", port->busnum);
	for (i = 0; i < port->depth && i < USB_CHAIN_MAX; i++) {
		len = strlen(buf);
		snprintf(buf + len, USBPORT_STRLEN - len, i == 0 ? "%u" : ".%u",
		    port->chain[i]);
	}
	return buf;
}

int
usbport_cmp(const struct usbport *a, const struct usbport *b)
{
	if (a->busnum != b->busnum)
		return a->busnum < b->busnum ? -1 : 1;
	/* Unused entries are zero, so a hub comes before what hangs on it. */
	return memcmp(a->chain, b->chain, sizeof(a->chain));
}

int
usbport_below(const struct usbport *port, const struct usbport *hub)
{
	return port->busnum == hub->busnum && port->depth > hub->depth &&
	       memcmp(port->chain, hub->chain, hub->depth) == 0;
}

int
usbport_valid(const struct usbport *port)
{
	unsigned int i;

	if (port->busnum == 0 || port->busnum > USB_BUSNUM_MAX ||
	    port->depth == 0 || port->depth > USB_CHAIN_MAX || port->zero != 0)
		return 0;
	for (i = 0; i < USB_CHAIN_MAX; i++)
		if ((port->chain[i] != 0) != (i < port->depth))
			return 0;
	return 1;
}

static int
port_is_none(const struct usbport *port)
{
	static const struct usbport none;

	return memcmp(port, &none, sizeof(none)) == 0;
}

const char *
usbdev_check(const struct usbdev *d)
{
	if (!usbport_valid(&d->port))
		return "port";
	if (!port_is_none(&d->peer) && !usbport_valid(&d->peer))
		return "peer";
	if (d->devnum == 0 || d->devnum > USB_DEVNUM_MAX)
		return "devnum";
	if (d->speed >= USB_SPEED_MAX)
		return "speed";
	if (d->ninterfaces > USBDEV_INTERFACES_MAX)
		return "ninterfaces";
	if (d->odd_descriptors > 1)
		return "odd_descriptors";
	if (d->compat > USBDEV_COMPAT_ALL)
		return "compat";
	if (!msg_string_ok(d->serial, sizeof(d->serial)))
		return "serial";
	if (!msg_string_ok(d->name, sizeof(d->name)))
		return "name";
	if (!msg_string_ok(d->manufacturer, sizeof(d->manufacturer)))
		return "manufacturer";
	if (!msg_string_ok(d->controller, sizeof(d->controller)))
		return "controller";
	if (!msg_string_ok(d->netif, sizeof(d->netif)))
		return "netif";
	if (!msg_string_ok(d->busy, sizeof(d->busy)) ||
	    !msg_string_ok(d->busy_why, sizeof(d->busy_why)))
		return "busy";
	return NULL;
}

unsigned int
usbdev_speeds(const struct usbdev *d)
{
	unsigned int speeds = 1U << d->speed;

	if (d->speed == USB_SPEED_UNKNOWN)
		return (1U << USB_SPEED_MAX) - 1;
	if (d->speed == USB_SPEED_SUPER && (d->compat & USBDEV_COMPAT_HIGH))
		speeds |= 1U << USB_SPEED_HIGH;
	if (d->speed >= USB_SPEED_HIGH && (d->compat & USBDEV_COMPAT_FULL))
		speeds |= 1U << USB_SPEED_FULL;
	return speeds;
}

int
usbdev_is_hub(const struct usbdev *d)
{
	unsigned int i;

	if (d->class.class == USB_CLASS_HUB)
		return 1;
	for (i = 0; i < d->ninterfaces; i++)
		if (d->interfaces[i].class == USB_CLASS_HUB)
			return 1;
	return 0;
}

void
usbdev_add_interface(struct usbdev *d, const struct usbclass *class)
{
	unsigned int i;

	for (i = 0; i < d->ninterfaces; i++)
		if (memcmp(&d->interfaces[i], class, sizeof(*class)) == 0)
			return;
	if (d->ninterfaces == USBDEV_INTERFACES_MAX) {
		d->odd_descriptors = 1;
		return;
	}
	d->interfaces[d->ninterfaces++] = *class;
}

const char *
usbspeed_string(enum usbspeed speed)
{
	return (unsigned int)speed < USB_SPEED_MAX ? speed_names[speed] : "";
}

enum usbspeed
usbspeed_parse(const char *s)
{
	unsigned int i;

	for (i = USB_SPEED_LOW; i < USB_SPEED_MAX; i++)
		if (strcmp(s, speed_names[i]) == 0)
			return (enum usbspeed)i;
	/* 10000 and 20000 are SuperSpeedPlus. */
	if (strcmp(s, "10000") == 0 || strcmp(s, "20000") == 0)
		return USB_SPEED_SUPER;
	return USB_SPEED_UNKNOWN;
}

static void
json_class(struct json *j, const char *name, const struct usbclass *c)
{
	char text[sizeof("ff:ff:ff")];

	snprintf(text, sizeof(text), "%02x:%02x:%02x", c->class, c->subclass,
	    c->protocol);
	json_str(j, name, text);
}

void
usbdev_json_classes(struct json *j, const struct usbdev *d)
{
	unsigned int i;

	json_class(j, "class", &d->class);
	json_array(j, "interfaces");
	for (i = 0; i < d->ninterfaces && i < USBDEV_INTERFACES_MAX; i++)
		json_class(j, NULL, &d->interfaces[i]);
	json_end(j, ']');
}
