/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef BUNDLES_INT_H
#define BUNDLES_INT_H

#include <sys/queue.h>
#include "bundles.h"

/* What bundles.c builds and bundles_decide.c asks; for nobody else. */

struct machine {
	TAILQ_ENTRY(machine) entry;
	uint32_t vm;
	char *name;
	char **adapters;
	size_t nadapters;
	int up;
	int owns;
};

/* That a machine has a bundle, or one of a group. */
struct claim {
	STAILQ_ENTRY(claim) entry;
	struct machine *machine;
};
STAILQ_HEAD(claims, claim);

struct priority {
	unsigned int port;
	unsigned int product;
};

/* An assigngrp. */
struct group {
	const char *name;
	struct group *parent; /* NULL: none */
	size_t members; /* 0: it is only named */
	size_t conditions; /* members that say something of a device */
	struct claims claims;
	uint64_t round; /* in which some member matched, */
	struct priority best; /* and how well */
};

/* What there is to a bundle beside its own words. */
struct node {
	struct group *group; /* NULL: none */
	struct group *parent; /* its own; NULL: that of its group */
	const char *refused;
	int controller;
	struct claims claims; /* of machines that name it */
};

/* A bundle stands under one key: port, hub, product or controller. */
struct key {
	uint64_t key;
	uint32_t bundle;
};

struct name {
	const char *name;
	uint32_t bundle;
};

struct bundles {
	char *name;
	struct bundle_list *list;
	struct node *nodes; /* one a bundle */
	struct group *groups; /* by name */
	size_t ngroups;
	struct key *keys; /* sorted */
	size_t nkeys;
	struct name *names; /* sorted without regard to case */
	size_t nnames;
	TAILQ_HEAD(, machine) machines;
	uint64_t round; /* of bundles_decide */
	uint32_t *matches; /* bundles that match the device of this round */
	size_t nmatches;
	size_t maxmatches;
};

/* bundles_build: all but name, list and machines. */
void bundles_build(struct bundles *);

/* bundles_group: NULL if there is no group of that name. */
struct group *bundles_group(const struct bundles *, const char *name);

/* Keys; kind is BUNDLE_HAS_PORT or BUNDLE_HAS_WILDCARD. */
uint64_t bundles_key_port(unsigned int kind, const struct usbport *);
uint64_t bundles_key_product(uint16_t vendor, uint16_t product);
uint64_t bundles_key_pci(const char *);

#endif
