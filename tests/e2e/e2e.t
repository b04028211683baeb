#!/bin/sh
# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC

here=$(dirname "$0")
exec "$here/bed" -t 1200 "$(realpath "$here")/scenarios"
