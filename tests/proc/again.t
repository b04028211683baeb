#!/bin/sh
# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
cd "$(dirname "$0")/../.." || exit 1
CMOCKA_MESSAGE_OUTPUT=TAP exec "${B:-build}/tests/proc/again_test"
