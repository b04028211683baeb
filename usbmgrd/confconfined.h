/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef CONFCONFINED_H
#define CONFCONFINED_H

#include "conf.h"

/*
 * conf_check_manifests: open the manifests here, and load them (conf_load) in
 * a process that is confined as the engine is and ends then.  0, or -1 after
 * messages.  For a process that is not confined itself yet.
 */
int conf_check_manifests(struct conf *);

#endif
