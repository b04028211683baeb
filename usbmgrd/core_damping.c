/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "core_int.h"
#include "xalloc.h"

/*
 * Each plug costs QEMU and its guest much, and some devices and cables plug
 * themselves many times a second.  What is plugged in a port that flaps has
 * to stay there for a while before a machine gets it.
 */

/* When something was plugged in one port. */
struct flapping {
	RB_ENTRY(flapping) entry;
	TAILQ_ENTRY(flapping) latest_entry;
	struct usbport port;
	uint64_t plugs[DAMPING_PLUGS_MAX]; /* the last ones, a ring */
	unsigned int next;
	unsigned int nplugs;
};

static int
flapping_cmp(struct flapping *a, struct flapping *b)
{
	return usbport_cmp(&a->port, &b->port);
}

RB_PROTOTYPE(flapping_tree, flapping, entry, flapping_cmp)
RB_GENERATE(flapping_tree, flapping, entry, flapping_cmp)

void
core_damping_init(struct core *core)
{
	RB_INIT(&core->damping.ports);
	TAILQ_INIT(&core->damping.latest);
	TAILQ_INIT(&core->damping.devices);
}

static void
forget(struct core *core, struct flapping *f)
{
	RB_REMOVE(flapping_tree, &core->damping.ports, f);
	TAILQ_REMOVE(&core->damping.latest, f, latest_entry);
	free(f);
}

void
core_damping_free(struct core *core)
{
	while (!TAILQ_EMPTY(&core->damping.latest))
		forget(core, TAILQ_FIRST(&core->damping.latest));
}

static uint64_t
latest(const struct flapping *f)
{
	return f->plugs[(f->next + DAMPING_PLUGS_MAX - 1) % DAMPING_PLUGS_MAX];
}

/* At the next plug, so that nothing wakes up for it. */
static void
forget_old(struct core *core, uint64_t window)
{
	struct flapping *f;

	while ((f = TAILQ_FIRST(&core->damping.latest)) != NULL &&
	       core->now - latest(f) >= window)
		forget(core, f);
}

static struct flapping *
at_port(struct core *core, const struct usbport *port)
{
	struct flapping key, *f;

	key.port = *port;
	f = RB_FIND(flapping_tree, &core->damping.ports, &key);
	if (f != NULL) {
		TAILQ_REMOVE(&core->damping.latest, f, latest_entry);
	} else {
		f = xcalloc(1, sizeof(*f));
		f->port = *port;
		RB_INSERT(flapping_tree, &core->damping.ports, f);
	}
	TAILQ_INSERT_TAIL(&core->damping.latest, f, latest_entry);
	return f;
}

/* 1 if that many plugs came before this one in the window. */
static int
plugged_again(struct flapping *f, uint64_t now, const struct damping *d)
{
	unsigned int i = f->next + DAMPING_PLUGS_MAX - d->plugs;
	int flaps = f->nplugs >= d->plugs &&
		    now - f->plugs[i % DAMPING_PLUGS_MAX] < d->window_ms;

	f->plugs[f->next] = now;
	f->next = (f->next + 1) % DAMPING_PLUGS_MAX;
	if (f->nplugs < DAMPING_PLUGS_MAX)
		f->nplugs++;
	return flaps;
}

void
core_damping_plugged(struct core *core, struct device *dev)
{
	const struct damping *d;

	if (core->policy == NULL || core->policy->damping.plugs == 0)
		return;
	d = &core->policy->damping;
	forget_old(core, d->window_ms);
	if (!plugged_again(at_port(core, &dev->dev.port), core->now, d))
		return;
	dev->damped_until = core->now + d->hold_ms;
	TAILQ_INSERT_TAIL(&core->damping.devices, dev, damped_entry);
}

void
core_damping_end(struct core *core, struct device *dev)
{
	if (dev->damped_until == 0)
		return;
	dev->damped_until = 0;
	TAILQ_REMOVE(&core->damping.devices, dev, damped_entry);
}

/* So that those that come stand behind those that wait. */
void
core_damping_policy(struct core *core)
{
	uint64_t last = core->now + core->policy->damping.hold_ms;
	struct device *dev;

	TAILQ_FOREACH(dev, &core->damping.devices, damped_entry)
		if (dev->damped_until > last)
			dev->damped_until = last;
}

void
core_damping_tick(struct core *core)
{
	struct device *dev;

	while ((dev = TAILQ_FIRST(&core->damping.devices)) != NULL &&
	       dev->damped_until <= core->now) {
		core_damping_end(core, dev);
		core_device_reconcile(core, dev);
	}
}

uint64_t
core_damping_next(const struct core *core)
{
	const struct device *dev = TAILQ_FIRST(&core->damping.devices);

	return dev == NULL ? 0 : dev->damped_until;
}

/* Who says by hand where it goes has seen it there. */
int
core_damping_holds(const struct core *core, const struct device *dev,
    char reason[MSG_TEXT_MAX])
{
	const struct damping *d = &core->policy->damping;
	char plugs[16];

	if (dev->damped_until <= core->now || dev->override != OVERRIDE_NONE)
		return 0;
	if (d->plugs == 1)
		strlcpy(plugs, "once", sizeof(plugs));
	else
		snprintf(plugs, sizeof(plugs), "%u times", d->plugs);
	snprintf(reason, MSG_TEXT_MAX,
	    "plugged in more than %s in %u s: waits until it has stayed for "
	    "%u s",
	    plugs, d->window_ms / 1000, d->hold_ms / 1000);
	return 1;
}
