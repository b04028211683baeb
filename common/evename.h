/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef EVENAME_H
#define EVENAME_H

/*
 * evename_ok: may this be part of a path as the name of a domain of EVE, or
 * as a file of its without ".json"?  Letters, digits, dot, hyphen and
 * underscore, fewer than 64, the first one no dot.  1 or 0.
 */
int evename_ok(const char *);

#endif
