/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#ifndef ENGINE_H
#define ENGINE_H

#include "core.h"

/*
 * engine_main: the engine process, which usbmgrd becomes when it is started
 * with -E as first argument.  Returns its exit status.
 */
int engine_main(int argc, char *argv[]);

#endif
