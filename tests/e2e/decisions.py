# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""Scenarios of how a device is judged: by the whole of the policy, by what
it is, by what this host does with it, by what else it could go to.
"""

import os
import signal

import inside
from inside import HUB, KEYBOARD, MOUSE, NETWORK, SERIAL, STICK
from scenario import rule, scenario

MOUSE_AND_MORE = {"vendor": "045e", "product": "0823", "name": "Mouse?",
                  "interfaces": ["03:01:02", "03:01:01", "08:06:50"]}
LOADER = {"vendor": "04b4", "product": "8613", "name": "Loader"}
DISK = "QEMU USB HARDDRIVE"


@scenario
def pledge(s):
    """a mouse gets in as a mouse, not what is a keyboard and a disk, too"""
    win10, linux = s.machine("win10"), s.machine("linux")
    s.usbmgrd('pass port { 3:9 3:10 } to { "win10" "linux" }',
              win10='pledge "mouse"')
    s.plug("3:9", MOUSE)
    s.attached("3:9", win10, "Classic IntelliMouse")
    s.plug("3:10", MOUSE_AND_MORE)
    s.refused("3:10", 'pledge of machine "win10": '
                      'it has an interface of class 03:01:01')
    s.empty(linux)
    s.ok(any(record["event"] == "hold" and record.get("device") == "3:10"
             and "pledge" in record["reason"]
             for record in s.service.log("engine")), "the breach is logged")


@scenario
def other_in_port(s):
    """another device takes the port at once: that one is judged"""
    win10 = s.machine("win10")
    s.usbmgrd('pass port 3:9 to "win10"', 'block product 413c:2107')
    s.plug("3:9", MOUSE)
    s.attached("3:9", win10, "Classic IntelliMouse")
    s.ports.unplug("3:9", settle=False)
    s.ports.plug("3:9", KEYBOARD, settle=False)
    s.ports.wait_for("3:9", KEYBOARD)
    s.refused("3:9", "blocked by " + rule(2))
    s.emptied(win10)


@scenario
def other_descriptors(s):
    """a plugged device that is another one after a reset is judged again"""
    win10 = s.machine("win10")
    s.usbmgrd('pass port 3:9 to "win10"', win10='pledge "mouse vendor"')
    s.plug("3:9", LOADER)
    s.attached("3:9", win10, "Loader")
    for identity in MOUSE, MOUSE_AND_MORE, MOUSE:
        before, after = s.ports.become("3:9", identity)
        s.ok(before != after, "the kernel counts it as another device, "
             "%d is %d" % (before, after))
        if identity is MOUSE:
            s.attached("3:9", win10, "Classic IntelliMouse")
        else:
            s.refused("3:9", 'pledge of machine "win10"')
            s.emptied(win10)


@scenario
def disk_in_use(s):
    """a disk that is mounted or swapped to stays here until it is not"""
    disks = {}
    for port in "4:9", "4:10", "4:11":
        s.plug(port, STICK)
        disks[port] = inside.partition(port)
    inside.load("minix")
    inside.run("mkfs.minix", disks["4:9"])
    inside.run("mkfs.minix", disks["4:11"])
    inside.run("mkswap", disks["4:10"])
    s.usbmgrd('pass port { 4:9 4:10 } to "win10"',
              'pass port 4:11 to "win10" even if busy')
    for port in disks:
        s.refused(port, "down")
    s.mount(disks["4:9"])
    s.refused("4:9", "protected: disk sda1 in use (mounted)")
    s.mount(disks["4:11"])
    inside.run("swapon", disks["4:10"])
    s.refused("4:10", "protected: disk sdb1 in use (swap)")
    win10 = s.machine("win10")
    s.attached("4:11", win10, DISK)
    s.refused("4:9", "(mounted)")
    s.refused("4:10", "(swap)")
    s.soon("umount", lambda: inside.run("umount", disks["4:9"]),
           lambda: s.attached("4:9", win10, DISK, count=2))
    s.soon("swapoff", lambda: inside.run("swapoff", disks["4:10"]),
           lambda: s.attached("4:10", win10, DISK, count=3))


@scenario
def network(s):
    """a network interface that appears late keeps its device here"""
    s.plug("3:9", NETWORK)
    s.usbmgrd('pass port 3:9 to "win10"')
    s.refused("3:9", "down")
    inside.load("cdc_ether", "rndis_host")
    s.refused("3:9", "protected: network interface ")
    win10 = s.machine("win10")
    s.ready("win10")
    s.refused("3:9", "protected: network interface ")
    s.soon("its driver's end",
           lambda: inside.run("busybox", "rmmod", "rndis_host", "cdc_ether"),
           lambda: s.attached("3:9", win10, "RNDIS/QEMU USB Network Device"))


@scenario
def fallback(s):
    """of a list the first machine that is up gets it, and keeps it"""
    linux = s.machine("linux")
    s.usbmgrd('pass port { 3:9 3:10 } to { "win10" "linux" }')
    s.plug("3:9", MOUSE)
    s.attached("3:9", linux, "Classic IntelliMouse")
    win10 = s.machine("win10")
    s.ready("win10")
    s.plug("3:10", KEYBOARD)
    s.attached("3:10", win10, "USB Keyboard")
    s.attached("3:9", linux, "Classic IntelliMouse")
    before = win10.commands()
    s.service.stop()
    s.service.start()
    s.attached("3:9", linux, "Classic IntelliMouse")
    s.ready("win10")
    s.ok(win10.commands() == before,
         "win10 was not offered it, also after a restart of usbmgrd")
    linux.kill()
    s.attached("3:9", win10, "Classic IntelliMouse", count=2)
    linux.start()
    s.ready("linux")
    s.attached("3:9", win10, "Classic IntelliMouse", count=2)
    s.ok(not linux.commands(), "linux was not offered it when it was back")


@scenario
def companion(s):
    """a rule holds for both halves of a connector, unless one is named"""
    win10, linux = s.machine("win10"), s.machine("linux")
    s.usbmgrd('pass port 3:10 to "linux"',
              'pass port { 4:9 4:10 3:11 } to "win10"')
    for port, other in ("3:9", "4:9"), ("4:11", "3:11"):
        s.ok(inside.peer(port) == other,
             "the kernel says that %s and %s are one connector"
             % (port, other))
    s.plug("3:9", MOUSE)
    s.attached("3:9", win10, "Classic IntelliMouse")
    s.plug("4:11", STICK)
    s.attached("4:11", win10, DISK, count=2)
    for port in "3:9", "4:11":
        s.ok("matched through its companion port"
             in s.service.usbmgrctl("explain", port),
             "explain says that %s matched through its companion" % port)
    s.plug("3:10", KEYBOARD)
    s.attached("3:10", linux, "USB Keyboard")
    s.ok("matched through" not in s.service.usbmgrctl("explain", "3:10"),
         "3:10 has a rule of its own, which comes before its companion's")


@scenario
def places_and_kinds(s):
    """controller, below, quick and class words in one policy"""
    win10, linux = s.machine("win10"), s.machine("linux")
    controller = os.path.basename(os.path.dirname(
        os.path.realpath("/sys/bus/usb/devices/usb3")))
    s.usbmgrd('pass below 3:1 to "linux"',
              'pass controller %s port 9 to "win10"' % controller,
              'block quick class keyboard',
              'pass class vendor to "linux"',
              'pass product 413c:2107 to "win10"')
    s.plug("3:1", HUB)
    s.plug("3:1.2", MOUSE)
    s.attached("3:1.2", linux, "Classic IntelliMouse")
    s.plug("3:9", MOUSE)
    s.attached("3:9", win10, "Classic IntelliMouse")
    s.plug("1:9", MOUSE)
    s.refused("1:9", "blocked by " + rule(0))
    s.plug("1:5", SERIAL)
    s.attached("1:5", linux, "FT232R USB UART", count=2)
    s.plug("1:6", KEYBOARD)
    s.refused("1:6", "blocked by " + rule(3))


@scenario
def explain(s):
    """usbmgrctl explain: the rules that match, which decides, what then"""
    win10 = s.machine("win10", "-device", "usb-tablet,bus=xhci.0,port=1")
    s.usbmgrd('pass product 045e:* to "linux"', 'pass port 3:9 to "win10"',
              'pass product 0403:6001 to "win10"', win10='port "1-2"')
    s.plug("3:9", MOUSE)
    s.attached("3:9", win10, "Classic IntelliMouse")
    s.explained("3:9", "attached", rule(0), rule(1), rule(2))
    text = s.service.usbmgrctl("explain", "3:9")
    s.ok("* %s" % rule(2) in text and
         'It is attached, machine "win10", guest port 2' in text,
         "the same in words")
    s.plug("3:10", MOUSE)
    s.refused("3:10", 'machine "linux" is down')
    s.explained("3:10", "held", rule(0), rule(1))
    s.plug("3:11", SERIAL)
    s.service.device("3:11", state="failed")
    s.explained("3:11", "failed", rule(0), rule(3))
    s.ok("It is tried again when a guest port is free." in
         s.service.usbmgrctl("explain", "3:11"), "and when it is tried again")
    s.unplug("3:9")
    s.attached("3:11", win10, "FT232R USB UART")
    s.plug("3:12", HUB)
    s.refused("3:12", "hub")
    s.explained("3:12", "held", rule(0))
    s.ok(s.service.usbmgrctl("explain", "3:13") is None,
         "no device, no explanation")


@scenario
def holder_hangs(s):
    """what a machine that hangs may still have goes to no other one"""
    linux = s.machine("linux")
    s.usbmgrd('pass port 3:9 to { "win10" "linux" }',
              'pass port 3:10 to "linux"')
    s.plug("3:9", MOUSE)
    s.attached("3:9", linux, "Classic IntelliMouse")
    win10 = s.machine("win10")
    s.ready("win10")
    linux.process.send_signal(signal.SIGSTOP)
    s.plug("3:10", KEYBOARD)
    reason = s.service.device("3:9", state="held")["reason"]
    s.ok(reason ==
         'machine "linux" may have it still: its connection is lost', reason)
    s.ok(s.holders("3:9") == ["linux"], "linux has it open")
    s.empty(win10)
    linux.process.send_signal(signal.SIGCONT)
    s.attached("3:9", linux, "Classic IntelliMouse", count=None)
    s.attached("3:10", linux, "USB Keyboard", count=2)
    s.ok(s.holders("3:9") == ["linux"], "linux has it still, nobody else")
    s.empty(win10)
    linux.kill()
    s.attached("3:9", win10, "Classic IntelliMouse")
