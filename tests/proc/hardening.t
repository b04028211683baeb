#!/bin/sh
# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
#
# What compiler and linker have to put into the programs.

cd "$(dirname "$0")/../../build" || exit 1
n=0

is() {
	n=$((n + 1))
	if eval "$2"; then
		echo "ok $n - $program: $1"
	else
		echo "not ok $n - $program: $1"
	fi
}

for program in usbmgrd usbmgrd-monitor usbmgrd-qmpclient usbmgrctl; do
	headers=$(readelf -hldW $program)
	symbols=$(readelf --dyn-syms -W $program)
	has() { echo "$headers" | grep -Eq "$1"; }
	calls() { echo "$symbols" | grep -Eq "UND .*$1"; }
	is "position-independent" "has 'Type: +DYN' && has 'Flags: .*PIE'"
	is "relocations are read-only" "has GNU_RELRO && has BIND_NOW"
	is "nothing to be written and executed" \
	    "has 'GNU_STACK.* RW ' && ! has ' RWE ' && ! has TEXTREL"
	is "stack protector" "calls __stack_chk_fail"
	is "FORTIFY_SOURCE" "calls '_chk(@|$)'"
done
echo "1..$n"
