# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""Scenarios of too much at once: uevents, plugs."""

import os
import signal
import time

import inside
from faults import declared
from inside import KEYBOARD, MOUSE, SERIAL, wait
from load import GROWTH, size
from scenario import scenario

UEVENTS = 20000
TOO_MANY = 3 * UEVENTS  # for the monitor's buffer
EVERY = 100             # of these one is about USB
SHORT = 2000            # uevents between two plugs
PLUGS = 7               # of one port
MOST = 4                # of these before it flaps: a plug takes some time here
HOLD = 3                # s, usbmgrd.conf(5), damping
WAITS = ("plugged in more than %d times in 10 s: waits until it has stayed "
         "for %d s" % (MOST, HOLD))
# Of a subsystem that nobody here listens to.
OTHER = "/sys/devices/virtual/mem/null/uevent"
# Of one that is listened to.
NETWORK = "/sys/devices/virtual/net/lo/uevent"
PORTS = {"3:8", "3:9", "3:10", "3:11"}


@scenario
def flapping(s):
    """a device that is plugged in over and over is given when it stays"""
    win10 = s.machine("win10")
    # udevd comes too late here to tell of a device that is gone again.
    s.policy("events kernel", "damping %d/10 hold %d" % (MOST, HOLD),
             declared("win10", 'bus "xhci.0"'), 'pass port 3:9 to "win10"')
    s.ready("win10")
    for _ in range(PLUGS):
        s.plug("3:9", MOUSE)
        s.unplug("3:9")
    s.plug("3:9", MOUSE)
    stayed = time.monotonic()
    held = s.service.device("3:9", state="held", reason=WAITS)
    s.ok(0 < held["retry_ms"] <= 1000 * HOLD, "held, for %d ms: %s"
         % (held["retry_ms"], held["reason"]))
    shown = s.service.usbmgrctl("explain", "3:9")
    s.ok("\nIts machine gets it in " in shown, shown.splitlines()[-1])
    s.attached("3:9", win10, "Classic IntelliMouse")
    seconds = time.monotonic() - stayed
    s.ok(seconds > HOLD - 1, "%.1f s after the last plug" % seconds)
    given = sum(command["execute"] == "device_add"
                for command in win10.commands())
    s.ok(given <= MOST + 1, "%d plugs, %d of which QEMU has noticed"
         % (PLUGS + 1, given))


def uevents(path, ours, count):
    """So many as fast as the kernel makes them."""
    other = os.open(path, os.O_WRONLY)
    usb = os.open(inside.sysfs(ours) + "/uevent", os.O_WRONLY)
    for number in range(count):
        os.write(usb if number % EVERY == 0 else other, b"change")
    os.close(other)
    os.close(usb)


def udevd():
    return [int(pid) for pid in os.listdir("/proc") if pid.isdigit()
            and inside.read("/proc/%s/comm" % pid) == "systemd-udevd"]


def switches(pids):
    """How often these processes have slept so far."""
    return [line for pid in pids for line in
            inside.read("/proc/%d/status" % pid).splitlines()
            if line.startswith("voluntary_ctxt_switches")]


def overflows(s):
    return [record for record in s.service.log("monitor")
            if record["event"] == "overflow"]


def plugs_amid(s):
    """Storms, between which things are plugged and unplugged."""
    for number in range(UEVENTS // SHORT):
        if number % 2:
            s.unplug("3:9", settle=False)
        else:
            s.plug("3:9", SERIAL, settle=False)
        uevents(OTHER, "3:8", SHORT)
    s.plug("3:9", MOUSE)
    s.attached("3:9", s.machines[0], "Classic IntelliMouse", count=2)
    s.ok(not overflows(s), "all of %d uevents were taken" % UEVENTS)


def overflow(s, monitor):
    """More than fits while nobody reads."""
    os.kill(monitor, signal.SIGSTOP)
    s.unplug("3:9")
    s.unplug("3:8")
    s.plug("3:8", SERIAL)
    s.plug("3:10", MOUSE)
    uevents(NETWORK, "3:8", TOO_MANY)
    s.unplug("3:10")
    s.plug("3:11", KEYBOARD)
    os.kill(monitor, signal.SIGCONT)
    s.attached("3:11", s.machines[0], "USB Keyboard", count=2)
    s.attached("3:8", s.machines[0], "FT232R USB UART", count=2)
    s.ok(len(overflows(s)) == 1 and
         sorted(s.service.devices().keys() & PORTS) == ["3:11", "3:8"],
         "uevents were lost, and the devices looked at anew")


@scenario
def storm(s):
    """20,000 uevents at once, and more than can be taken: nothing is lost"""
    s.machine("win10")
    for pid in udevd():     # it would take minutes
        os.kill(pid, signal.SIGKILL)
    try:
        s.policy("events kernel", "damping off",
                 declared("win10", 'bus "xhci.0"'), 'pass all to "win10"')
        s.ready("win10")
        s.plug("3:8", KEYBOARD)
        s.attached("3:8", s.machines[0], "USB Keyboard")
        pids = {inside.read("/proc/%d/comm" % pid): pid
                for pid in s.service.processes()}
        before = {name: size(pid) for name, pid in pids.items()}
        plugs_amid(s)
        overflow(s, pids["usbmgrd-monitor"])
        time.sleep(1)
        slept = switches(pids.values())
        time.sleep(2)
        s.ok(switches(pids.values()) == slept, "all sleep again")
    finally:
        inside.run("/usr/lib/systemd/systemd-udevd", "--daemon")
    for name, pid in pids.items():
        (fds, memory), (fds_now, memory_now) = before[name], size(pid)
        s.ok(fds_now == fds and memory_now - memory < GROWTH,
             "%s: %d descriptors and %d kB, then %d and %d kB"
             % (name, fds, memory, fds_now, memory_now))
