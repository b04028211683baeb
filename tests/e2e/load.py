# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""Scenarios that are about numbers: many machines, many plugs."""

import os
import statistics
import time

import inside
from faults import declared, milliseconds
from inside import MOUSE, wait
from scenario import load, scenario

MACHINES = 1, 8, 32
GROWTH = 128        # kB that a process may grow by, which is noise


def there_and_back(s, port, machine, device):
    """One plug and one unplug; how long each took, in ms: in all, and
    what of it was not QEMU.
    """
    number = s.plug(port, device)
    s.service.device(port, state="attached", vm=machine.name)
    s.unplug(port)
    wait("%s loses %s" % (machine.name, port), lambda: not machine.devices())
    wait("it is logged", lambda: any(
        record["event"] == "detach" and record["devnum"] == number
        for record in s.service.log("engine")))
    wait("the answers are logged", lambda: sum(
        record["event"] == "result"
        for record in s.service.log("qmpclient")) % 2 == 0)
    return sum((milliseconds(s, port, number, event)
                for event in ("device", "device-gone")), ())


def several(s, count):
    """That many machines, and how long each of them needs for a device."""
    names = ["vm%02d" % number for number in range(count)]
    machines = [s.machine(name) for name in names]
    s.policy("damping off",
             *[declared(name, 'bus "xhci.0"') for name in names],
             *['pass serial "%s" to "%s"' % (name, name) for name in names])
    for name in names:
        s.ready(name)
    times = [there_and_back(s, "3:9", machine,
                            dict(MOUSE, serial=machine.name))
             for machine in machines]
    s.service.stop()
    for machine in machines:
        machine.kill()
    s.machines.clear()
    return zip(*times)


@scenario
@load
def many_machines(s):
    """attach and detach take as long with 32 machines as with one"""
    ours = {}
    for count in MACHINES:
        attach, attach_ours, detach, detach_ours = several(s, count)
        ours[count] = [statistics.median(attach_ours),
                       statistics.median(detach_ours)]
        s.ok(True, "%2d machines: attach in %.0f ms (%.0f to %.0f), %.0f "
             "without QEMU; detach in %.0f ms (%.0f to %.0f), %.0f" %
             (count, statistics.median(attach), min(attach), max(attach),
              ours[count][0], statistics.median(detach), min(detach),
              max(detach), ours[count][1]))
    for what, one, many in zip(("attach", "detach"), ours[1], ours[32]):
        s.ok(many < 2 * one + 100, "%s: without QEMU %.0f ms with 32, %.0f "
             "ms with one" % (what, many, one))


def size(pid):
    """(descriptors, kB) of a process."""
    return len(os.listdir("/proc/%d/fd" % pid)), sum(
        int(line.split()[1]) for line in
        (inside.read("/proc/%d/smaps_rollup" % pid) or "").splitlines()
        if line.startswith(("Private_Dirty:", "Swap:")))


def same_after(s, count):
    win10 = s.machine("win10")
    s.usbmgrd('damping off', 'pass port 3:9 to "win10"')
    processes = {inside.read("/proc/%d/comm" % pid): pid
                 for pid in s.service.processes()}
    processes["qemu"] = win10.process.pid
    for _ in range(5):
        there_and_back(s, "3:9", win10, MOUSE)
    time.sleep(1)
    before = {name: size(pid) for name, pid in processes.items()}
    for _ in range(count):
        there_and_back(s, "3:9", win10, MOUSE)
    time.sleep(1)
    for name, pid in processes.items():
        (fds, memory), (fds_now, memory_now) = before[name], size(pid)
        s.ok(fds_now == fds and (memory_now - memory < GROWTH or
                                 name == "qemu"),
             "%s: %d descriptors and %d kB, %d rounds later %d and %d kB"
             % (name, fds, memory, count, fds_now, memory_now))


@scenario
def some_rounds(s):
    """8 plugs and unplugs leave nothing behind"""
    same_after(s, 8)


@scenario
@load
def many_rounds(s):
    """200 plugs and unplugs leave nothing behind"""
    same_after(s, 200)
