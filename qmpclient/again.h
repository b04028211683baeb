/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef AGAIN_H
#define AGAIN_H

#include "vm.h"

/*
 * An engine that takes the place of one that ended: it is told all that the
 * other one knew of the machines, and not what that one had asked for.
 */

/* again_engine: there is another one, or the first, at the other end. */
void again_engine(void);

/*
 * again_answered: QEMU has answered a request.  A machine is told of when
 * the last one of the engine before was, and it is known what it has.
 */
void again_answered(struct vm *);

#endif
