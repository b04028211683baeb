/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <string.h>
#include "trace.h"
#include "world.h"

/* The host's devices, and the monitor. */

static const struct {
	uint16_t vendor, product;
	enum usbspeed speed;
	struct usbclass class;
} kinds[KINDS] = {
	{ 0x046d, 0xc077, USB_SPEED_LOW, { 3, 1, 2 } },
	{ 0x045e, 0x0823, USB_SPEED_FULL, { 3, 1, 1 } },
	{ 0x0781, 0x5567, USB_SPEED_HIGH, { 8, 6, 80 } },
	{ 0x0403, 0x6001, USB_SPEED_SUPER, { 255, 255, 255 } },
};

struct usbdev
host_device(const struct snapshot *s)
{
	struct usbdev d;

	memset(&d, 0, sizeof(d));
	d.port = slot_port(s->slot);
	d.devnum = s->devnum;
	d.vendor = kinds[s->kind].vendor;
	d.product = kinds[s->kind].product;
	d.speed = (uint8_t)kinds[s->kind].speed;
	usbdev_add_interface(&d, &kinds[s->kind].class);
	d.class.class = s->hub ? USB_CLASS_HUB : 0;
	d.odd_descriptors = s->odd;
	memset(d.digest, s->digest, sizeof(d.digest));
	if (s->netif)
		strlcpy(d.netif, "eth1", sizeof(d.netif));
	if (s->busy) {
		strlcpy(d.busy, "sdb", sizeof(d.busy));
		strlcpy(d.busy_why, "mounted", sizeof(d.busy_why));
	}
	return d;
}

static void
tell(enum note_type type, const struct snapshot *s)
{
	struct note *note;

	if (!world.monitor_runs || world.monitor_gen == 0)
		return;
	note = channel_add(&world.monitor_engine, type, world.monitor_gen);
	if (s != NULL)
		note->dev = *s;
}

static void
unplug(struct snapshot *s)
{
	trace(s->slot, NOBODY, "host: %s/%u is unplugged", slot_names[s->slot],
	    s->devnum);
	tell(NOTE_GONE, s);
	s->plug = 0;
}

/* What may change of a device that stays. */
static void
vary(struct snapshot *s)
{
	s->netif = chance(10) == 0;
	s->busy = chance(8) == 0;
	s->odd = chance(24) == 0;
	s->digest = (uint8_t)(s->kind * 16 + (chance(4) == 0));
}

static int
is_used(int bus, uint16_t devnum)
{
	int i;

	for (i = 0; i < SLOTS; i++)
		if (world.slots[i].plug != 0 &&
		    world.slots[i].devnum == devnum &&
		    slot_port(i).busnum == bus)
			return 1;
	return 0;
}

/* As choose_devnum of the kernel does. */
static uint16_t
new_devnum(int bus)
{
	do
		world.devnums[bus] =
		    (uint16_t)(world.devnums[bus] % USB_DEVNUM_MAX + 1);
	while (is_used(bus, world.devnums[bus]));
	return world.devnums[bus];
}

static void
plug(struct snapshot *s)
{
	s->plug = ++world.plugs;
	s->kind = (int)chance(KINDS);
	s->devnum = new_devnum(slot_port(s->slot).busnum);
	s->hub = chance(16) == 0;
	vary(s);
	trace(s->slot, NOBODY, "host: %s/%u is plugged, kind %d",
	    slot_names[s->slot], s->devnum, s->kind);
	tell(NOTE_DEVICE, s);
}

void
host_step(void)
{
	struct snapshot *s = &world.slots[chance(SLOTS)];

	if (s->plug == 0) {
		plug(s);
		return;
	}
	switch (chance(6)) {
	case 0: /* as if it had not changed */
		tell(NOTE_DEVICE, s);
		break;
	case 1:
	case 2:
		vary(s);
		trace(s->slot, NOBODY, "host: %s/%u changes",
		    slot_names[s->slot], s->devnum);
		tell(NOTE_DEVICE, s);
		break;
	case 3:
		unplug(s);
		plug(s);
		break;
	case 4: /* it is back before anybody looks */
		s->plug = 0;
		plug(s);
		break;
	default:
		unplug(s);
	}
}

/* A new monitor, or one with a new engine, tells of all. */
int
monitor_work(void)
{
	int i;

	if (world.monitor_gen == world.monitor_peer)
		return 0;
	world.monitor_gen = world.monitor_peer;
	world.monitor_runs = 1;
	for (i = 0; i < SLOTS; i++)
		if (world.slots[i].plug != 0)
			tell(NOTE_DEVICE, &world.slots[i]);
	tell(NOTE_SCAN_DONE, NULL);
	return 1;
}

/* What it says until a new one has scanned is lost. */
void
monitor_die(void)
{
	trace(ALL, NOBODY, "monitor dies");
	world.monitor_runs = 0;
	world.monitor_peer = ++world.gens;
	if (world.core != NULL)
		channel_add(&world.parent_engine, NOTE_PEER_MONITOR, 0)->conn =
		    world.monitor_peer;
}
