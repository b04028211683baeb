# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""Scenarios of processes that die: the devices stay where they are, and what
happens meanwhile is made up for.
"""

import os
import signal

import inside
from inside import KEYBOARD, MOUSE, STICK, wait
from scenario import scenario

CHILDREN = ["qmpclient", "monitor", "engine"]
MOUSE_NAME = "Classic IntelliMouse"
DISK = "QEMU USB HARDDRIVE"


def pid_of(s, child):
    """None while there is none."""
    for pid in s.service.processes():
        # 15 characters of it are kept.
        if inside.read("/proc/%d/comm" % pid) == ("usbmgrd-" + child)[:15]:
            return pid
    return None


def restarts(s, child):
    return sum(record["event"] == "child-restarted" and
               record["child"] == child for record in s.service.log("usbmgrd"))


def kill(s, child):
    """Returns when another one is at work in its place."""
    pid = wait("there is a %s" % child, lambda: pid_of(s, child))
    count = restarts(s, child)
    os.kill(pid, signal.SIGKILL)
    wait("another %s" % child, lambda: restarts(s, child) > count)


def untouched(s, machine, before, what):
    ids, held, commands = before
    s.ok(machine.commands() == commands, "%s: QEMU was sent no device_add or "
         "_del" % what)
    s.ok(machine.devices() == ids and machine.holds() == held,
         "%s: the device is the very same one" % what)


def state_of(machine):
    return machine.devices(), machine.holds(), machine.commands()


@scenario
def children_killed(s):
    """each child is killed: the device stays, and all goes on"""
    win10 = s.machine("win10")
    s.usbmgrd('pass port { 3:9 3:10 } to "win10"')
    s.plug("3:9", MOUSE)
    s.attached("3:9", win10, MOUSE_NAME)
    for child in CHILDREN:
        before = state_of(win10)
        kill(s, child)
        s.attached("3:9", win10, MOUSE_NAME)
        untouched(s, win10, before, child)
        s.plug("3:10", KEYBOARD)
        s.attached("3:10", win10, "USB Keyboard", count=2)
        s.unplug("3:10")
        s.gone("3:10", win10, others=1)
    s.unplug("3:9")
    s.gone("3:9", win10)


@scenario
def missed_by_a_child(s):
    """what a child did not live to see is made up for by the next one"""
    win10 = s.machine("win10")
    s.usbmgrd('pass port 3:9 to "win10"')
    s.plug("3:9", MOUSE)
    s.attached("3:9", win10, MOUSE_NAME)
    for child in CHILDREN:
        for step in ("unplug", "plug", "replug"):
            pid = wait("a %s" % child, lambda: pid_of(s, child))
            os.kill(pid, signal.SIGSTOP)
            if step != "plug":
                s.unplug("3:9")
            if step != "unplug":
                s.plug("3:9", MOUSE)
            kill(s, child)
            print("# %s: %s" % (child, step))
            if step == "unplug":
                s.gone("3:9", win10)
            else:
                s.attached("3:9", win10, MOUSE_NAME)


@scenario
def machine_killed_meanwhile(s):
    """a machine ends while the QMP client is dead: the device goes on"""
    win10, linux = s.machine("win10"), s.machine("linux")
    s.usbmgrd('pass port 3:9 to { "win10" "linux" }')
    s.plug("3:9", MOUSE)
    s.attached("3:9", win10, MOUSE_NAME)
    os.kill(pid_of(s, "qmpclient"), signal.SIGSTOP)
    win10.kill()
    kill(s, "qmpclient")
    s.attached("3:9", linux, MOUSE_NAME)
    before = state_of(linux)
    win10.start()
    s.ready("win10")
    kill(s, "qmpclient")
    s.attached("3:9", linux, MOUSE_NAME)
    untouched(s, linux, before, "qmpclient")


@scenario
def mounted_all_the_time(s):
    """another monitor knows of mounts, and hears of their end"""
    win10 = s.machine("win10")
    s.plug("4:9", STICK)
    disk = inside.partition("4:9")
    inside.load("minix")
    inside.run("mkfs.minix", disk)
    s.mount(disk)
    s.usbmgrd('pass port 4:9 to "win10"')
    s.refused("4:9", "in use")
    kill(s, "monitor")
    s.refused("4:9", "in use")
    kill(s, "engine")
    s.refused("4:9", "in use")
    s.soon("umount", lambda: inside.run("umount", disk),
           lambda: s.attached("4:9", win10, DISK))


@scenario
def parent_killed(s):
    """the parent is killed: all end, the devices stay, and are adopted"""
    win10 = s.machine("win10")
    s.usbmgrd('pass port 3:9 to "win10"')
    s.plug("3:9", MOUSE)
    s.attached("3:9", win10, MOUSE_NAME)
    before = state_of(win10)
    family = s.service.processes()
    s.service.stop(signal.SIGKILL)
    wait("the end of its processes", lambda: not any(
        os.path.exists("/proc/%d" % pid) for pid in family))
    s.ok(len(family) == 5, "none of its %d processes is left" % len(family))
    untouched(s, win10, before, "after")
    s.service.start()
    s.attached("3:9", win10, MOUSE_NAME)
    untouched(s, win10, before, "adopted")
    s.unplug("3:9")
    s.gone("3:9", win10)


@scenario
def crash_loop(s):
    """a child that dies again and again: the service ends, devices stay"""
    win10 = s.machine("win10")
    s.usbmgrd('pass port 3:9 to "win10"')
    s.plug("3:9", MOUSE)
    s.attached("3:9", win10, MOUSE_NAME)
    before = state_of(win10)
    process = s.service.process
    for _ in range(9):
        kill(s, "monitor")
    os.kill(pid_of(s, "monitor"), signal.SIGKILL)
    s.ok(process.wait(inside.SECONDS) == 1, "exit status 1")
    s.service.process = None
    s.ok("monitor died 10 times in 60 seconds, the last time it was killed "
         "by signal 9 (Killed): giving up" in inside.read(inside.STDERR),
         "its last words name process and cause")
    untouched(s, win10, before, "after")
    s.service.start()
    s.attached("3:9", win10, MOUSE_NAME)
    untouched(s, win10, before, "adopted")
