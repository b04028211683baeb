#!/bin/sh
# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
#
# Policy files through `usbmgrd -nv -f FILE`, which must leave exactly this:
#   pass-X.conf    pass-X.ok on stdout, which must parse again to the same
#   fail-X.conf    fail-X.err on stderr, exit status 1
# Then what is wrong with a file as a whole, and with the command line.

cd "$(dirname "$0")/../.." || exit 1
data=$PWD/tests/conf
usbmgrd=$(realpath "${B:-build}")/usbmgrd
if [ "$(id -u)" -ne 0 ]; then
	echo "Bail out! must be run by root: policy files must be root's"
	exit 1
fi
# A checkout may belong to anybody; policy files may not.
dir=$(mktemp -d) && cd "$dir" || exit 1
trap 'rm -rf "$dir"' EXIT
cp "$data"/*.conf . && chown 0:0 ./* && chmod 0644 ./* || exit 1

n=0
# result NAME: TAP for the status of the command before.
result() {
	status=$?
	n=$((n + 1))
	[ $status -eq 0 ] || printf 'not '
	printf 'ok %d - %s\n' $n "$1"
}

# check FILE: parses and prints it, into out and err.
check() {
	timeout 10 "$usbmgrd" -nv -f "$1" >out 2>err
}

# compare WANT GOT: shows a difference as TAP comments.
compare() {
	cmp -s "$1" "$2" && return
	diff -u "$1" "$2" | sed 's/^/# /'
	return 1
}

# passes FILE OK
passes() {
	if check "$1" && [ "$(cat err)" = "configuration OK" ]; then
		compare "$2" out
	else
		sed 's/^/# /' err
		return 1
	fi
}

# prints_itself OK: that is printed parses again to the same.
prints_itself() {
	cp "$1" again.conf && passes again.conf "$1"
}

# fails STATUS ARGUMENT...: expects what is on stdin on stderr.
fails() {
	want=$1
	shift
	cat >want
	timeout 10 "$usbmgrd" "$@" >out 2>err
	got=$?
	compare want err || return
	if [ $got -ne "$want" ] || [ -s out ]; then
		echo "# status $got, on stdout: $(cat out)"
		return 1
	fi
}

# refused FILE MESSAGE
refused() {
	echo "$1: $2" | fails 1 -n -f "$1"
	result "$2"
}

for conf in pass-*.conf; do
	ok=$data/${conf%.conf}.ok
	passes "$conf" "$ok" && prints_itself "$ok"
	result "$conf"
done
for conf in fail-*.conf; do
	fails 1 -nv -f "$conf" <"$data/${conf%.conf}.err"
	result "$conf"
done

refused missing.conf "No such file or directory"
mkdir directory.conf
refused directory.conf "not a regular file"
mkfifo fifo.conf
refused fifo.conf "not a regular file"
touch owned.conf && chown 1 owned.conf
refused owned.conf "must be owned by root, is owned by uid 1"
for mode in 0664 0646; do
	touch $mode.conf && chmod $mode $mode.conf
	refused $mode.conf \
	    "must be writable by root only (chmod go-w $mode.conf)"
done

usage="usage: usbmgrd [-dnVv] [-f file]"
for arguments in "-n -f" "-n more" "-n -x" "-n -f pass-empty.conf more"; do
	want=$usage
	case $arguments in
	*-f)	want="$usbmgrd: option requires an argument -- 'f'
$usage" ;;
	*-x)	want="$usbmgrd: invalid option -- 'x'
$usage" ;;
	esac
	# shellcheck disable=SC2086 # the arguments
	echo "$want" | fails 2 $arguments
	result "usbmgrd $arguments"
done
fails 1 -E <<END
usbmgrd -E is started by usbmgrd(8), not by hand
END
result "usbmgrd -E"

timeout 10 "$usbmgrd" -n -f pass-empty.conf >out 2>err &&
    [ ! -s out ] && [ "$(cat err)" = "configuration OK" ]
result "without -v nothing is printed"
echo 'block port 3:0' >started.conf
fails 1 -f started.conf <<END
started.conf:1: port "3:0": a port is a number from 1 to 255, behind hubs \
several with dots, as in 1.2
END
result "a service with a bad policy does not start"
echo "1..$n"
