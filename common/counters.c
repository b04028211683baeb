/*
 * Copyright (c) 2026 The usbmgrd authors
 * SPDX-License-Identifier: ISC
 */

#include <stddef.h>
#include "counters.h"

#define ROW(family, name, type, label, help) \
	[family] = { name, type, label, help },
static const struct counter_info table[COUNTER_MAX] = { COUNTER_TABLE(ROW) };
#undef ROW

const struct counter_info *
counter_info(uint32_t family)
{
	return family < COUNTER_MAX ? &table[family] : NULL;
}
