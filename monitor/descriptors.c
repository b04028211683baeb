/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <sys/types.h>
#include <sha2.h>
#include <string.h>
#include "descriptors.h"

#define DT_DEVICE 1
#define DT_CONFIG 2
#define DT_INTERFACE 4
#define DT_ENDPOINT 5
#define DT_ASSOCIATION 11
#define DT_SS_COMPANION 48

#define DEVICE_LEN 18
#define HEADER_LEN 2

/* bmAttributes of an endpoint, and of a SuperSpeed companion (USB 3.2 9.6). */
#define TRANSFER_TYPE 0x03
#define TRANSFER_ISOCHRONOUS 1
#define TRANSFER_BULK 2
#define TRANSFER_INTERRUPT 3
#define BULK_STREAMS 0x1f
/* Most bytes that an interrupt endpoint has at that speed. */
#define INTERRUPT_MAX_HIGH 1024
#define INTERRUPT_MAX_FULL 64

/*
 * QEMU's hw/usb/host-libusb.c indexes arrays of USB_MAX_INTERFACES with what
 * the device says.
 */
#define INTERFACES_IN_QEMU 16

/* bLength must be at least this much (USB 2.0 9.6, USB 3.2 9.6). */
static const struct {
	uint8_t type;
	uint8_t len;
} min_len[] = {
	{ DT_DEVICE, DEVICE_LEN },
	{ DT_CONFIG, 9 },
	{ DT_INTERFACE, 9 },
	{ DT_ENDPOINT, 7 },
	{ DT_ASSOCIATION, 8 },
	{ DT_SS_COMPANION, 6 },
};

struct walk {
	struct usbdev *dev;
	size_t config_end; /* where the next configuration must start */
	unsigned int configs;
	int odd;
	unsigned int transfer; /* type of the endpoint that came last */
};

static uint16_t
le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static int
too_short(const uint8_t *d)
{
	size_t i;

	for (i = 0; i < sizeof(min_len) / sizeof(min_len[0]); i++)
		if (min_len[i].type == d[1])
			return d[0] < min_len[i].len;
	return 0;
}

/*
 * The kernel cuts a configuration short where it stops making sense, but
 * leaves wTotalLength as it came: so a lie shows as a wrong place of what
 * follows.
 */
static void
walk_config(struct walk *w, const uint8_t *d, size_t pos)
{
	if (pos != w->config_end || le16(d + 2) < d[0] ||
	    d[4] > INTERFACES_IN_QEMU)
		w->odd = 1;
	w->config_end = pos + le16(d + 2);
	w->configs++;
}

static void
walk_interface(struct walk *w, const uint8_t *d)
{
	struct usbclass class = {
		.class = d[5], .subclass = d[6], .protocol = d[7]
	};

	if (d[2] >= INTERFACES_IN_QEMU)
		w->odd = 1;
	usbdev_add_interface(w->dev, &class);
}

/* USBDEV_COMPAT_: what one endpoint rules out. */
static void
walk_endpoint(struct walk *w, const uint8_t *d)
{
	w->transfer = d[3] & TRANSFER_TYPE;
	if (w->transfer == TRANSFER_ISOCHRONOUS)
		w->dev->compat = 0;
	if (w->transfer != TRANSFER_INTERRUPT)
		return;
	if (le16(d + 4) > INTERRUPT_MAX_FULL)
		w->dev->compat &= (uint8_t)~USBDEV_COMPAT_FULL;
	if (le16(d + 4) > INTERRUPT_MAX_HIGH)
		w->dev->compat &= (uint8_t)~USBDEV_COMPAT_HIGH;
}

static void
walk_ss_companion(struct walk *w, const uint8_t *d)
{
	if (w->transfer == TRANSFER_BULK && (d[3] & BULK_STREAMS) != 0)
		w->dev->compat = 0;
}

static void
walk_descriptor(struct walk *w, const uint8_t *d, size_t pos)
{
	if (too_short(d)) {
		w->odd = 1;
		return;
	}
	switch (d[1]) {
	case DT_DEVICE:
		w->odd = 1;
		break;
	case DT_CONFIG:
		walk_config(w, d, pos);
		break;
	case DT_INTERFACE:
		walk_interface(w, d);
		break;
	case DT_ENDPOINT:
		walk_endpoint(w, d);
		break;
	case DT_SS_COMPANION:
		walk_ss_companion(w, d);
		break;
	}
}

static void
digest(struct usbdev *dev, const uint8_t *p, size_t len)
{
	SHA2_CTX ctx;

	SHA256Init(&ctx);
	SHA256Update(&ctx, p, len);
	SHA256Final(dev->digest, &ctx);
}

int
descriptors_parse(struct usbdev *dev, const uint8_t *p, size_t len)
{
	struct walk w = { .dev = dev, .config_end = DEVICE_LEN };
	size_t pos;

	if (len < DEVICE_LEN || p[1] != DT_DEVICE)
		return -1;
	digest(dev, p, len);
	dev->class.class = p[4];
	dev->class.subclass = p[5];
	dev->class.protocol = p[6];
	dev->vendor = le16(p + 8);
	dev->product = le16(p + 10);
	dev->revision = le16(p + 12);
	dev->ninterfaces = 0;
	dev->odd_descriptors = 0;
	dev->compat = USBDEV_COMPAT_ALL;
	memset(dev->interfaces, 0, sizeof(dev->interfaces));

	for (pos = DEVICE_LEN; len - pos >= HEADER_LEN; pos += p[pos]) {
		if (p[pos] < HEADER_LEN || p[pos] > len - pos)
			break;
		walk_descriptor(&w, p + pos, pos);
	}
	if (w.odd || p[0] != DEVICE_LEN || pos != len || w.config_end != len ||
	    w.configs != p[17] || w.configs == 0)
		dev->odd_descriptors = 1;
	return 0;
}
