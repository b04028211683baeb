# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""Scenarios in which usbmgrd has the place of EVE's usbmanager: EVE's files
in /run, written as EVE writes them, machines with EVE's arguments, whose one
monitor EVE's domainmgr uses, too. And the manifest of a model.
"""

import json
import os
import pwd
import shutil

import inside
import qmp
from inside import KEYBOARD, MOUSE, wait
from scenario import scenario

RUN = "/run/domainmgr"
KVM = "/run/hypervisor/kvm"
MODEL = "/etc/model.json"
UUID = "4f1c2a6e-0b6d-4f0e-9a53-3d6c5f6f6b1%d"
BOOTING, RUNNING, HALTING, HALTED = 114, 115, 118, 119
POLICY = """\
log directory "%s"
control socket "%s" group "usbmgrd"
events auto
block all
""" % (inside.LOGS, inside.CONTROL_SOCKET)


def publish(topic, key, value):
    """As pubsub's socketdriver does: a file beside it, fsync, rename."""
    directory = os.path.join(RUN, topic)
    os.makedirs(directory, 0o700, exist_ok=True)
    temporary = os.path.join(directory, "tmp729113475")
    with open(temporary, "w") as file:
        json.dump(value, file, separators=(",", ":"))
        file.flush()
        os.fsync(file.fileno())
    os.rename(temporary, os.path.join(directory, key + ".json"))


def bundle(kind, label, group, **more):
    return {"Type": kind, "Phylabel": label, "Logicallabel": label,
            "AssignmentGroup": group, **more,
            "UsedByUUID": "00000000-0000-0000-0000-000000000000",
            "Error": {"TimeOfError": "0001-01-01T00:00:00Z"},
            "Vfs": {}, "VfParams": {}}


def controller_of(bus):
    """PCI address of the controller that has the bus."""
    path = os.path.realpath("/sys/bus/usb/devices/usb%d" % bus)
    return os.path.basename(os.path.dirname(path))


def adapters(*bundles):
    publish("AssignableAdapters", "global",
            {"Initialized": True, "IoBundleList": [
                bundle(13, "USB Controller Phy", "USB-controller-1",
                       PciLong=controller_of(3), KeepInHost=True), *bundles]})


class Domain(inside.Machine):
    """A machine as domainmgr starts it: stopped at first, a tablet in the
    first port, a monitor to be told on and another to be listened to."""

    controller = [
        "-device", "pcie-root-port,id=pci.2,bus=pcie.0,chassis=2,port=0x12,"
                   "addr=0x2",
        "-device", "qemu-xhci,id=usb,p2=15,p3=15,bus=pci.2,addr=0x0",
        "-device", "usb-tablet,id=input0,bus=usb.0,port=1",
        "-S", "-no-shutdown"]

    def __init__(self, number):
        self.uuid = UUID % number
        super().__init__("%s.1.%d" % (self.uuid, number))

    def path(self, suffix):
        suffix = {"look": "listener.qmp"}.get(suffix, suffix)
        return "%s/%s/%s" % (KVM, self.name, suffix)

    def start(self):
        user = pwd.getpwnam(inside.QEMU_USER)
        directory = os.path.dirname(self.path("qmp"))
        os.makedirs(directory, exist_ok=True)
        os.chown(directory, user.pw_uid, user.pw_gid)
        return super().start()

    def status(self, state, *names):
        publish("DomainStatus", self.uuid, {
            "UUIDandVersion": {"UUID": self.uuid, "Version": "1"},
            "DisplayName": "winvm", "State": state, "Activated": True,
            "DomainName": self.name, "DomainId": 2345, "VifList": None,
            "IoAdapterList": [{"Type": 14, "Name": name, "EthVf": {},
                               "IntfOrder": 0} for name in names] or None,
            "EnvVariables": None, "VncPasswd": "geheim"})

    def ask(self, command):
        """What domainmgr does: connect, ask, go."""
        monitor = qmp.Connection(self.path("qmp"))
        try:
            return monitor.execute(command)
        finally:
            monitor.close()

    def boot(self, *names):
        self.start()
        self.status(BOOTING, *names)
        self.ask("cont")
        self.status(RUNNING, *names)
        return self


class World:
    """EVE around a scenario."""

    def __init__(self, s, *lines):
        for directory in RUN, KVM:
            shutil.rmtree(directory, ignore_errors=True)
        s.service.write_policy(POLICY + "\n".join(lines) + "\n")
        s.service.start()
        self.s = s

    def boot(self, number, *names):
        domain = Domain(number)
        self.s.machines.append(domain)
        return domain.boot(*names)


@scenario
def eve_port(s):
    """EVE: the device in a port goes to the machine that has its adapter"""
    world = World(s, "eve { }")
    adapters(bundle(14, "USB device 9", "USB", UsbAddr="003:9",
                    ParentAssignmentGroup="USB-controller-1"))
    s.plug("3:9", MOUSE)
    s.refused("3:9", "blocked by usbmgrd.conf:4")
    domain = world.boot(1, "USB device 9")
    s.attached("3:9", domain, "Classic IntelliMouse")
    s.ok(domain.ask("query-status")["status"] == "running",
         "domainmgr has its turn at the same monitor")
    s.unplug("3:9")
    s.gone("3:9", domain)
    s.plug("3:9", KEYBOARD)
    s.attached("3:9", domain, "USB Keyboard")
    # HALTING is published while QEMU still runs.
    domain.status(HALTING, "USB device 9")
    s.emptied(domain)
    domain.kill()
    domain.status(HALTED)
    s.refused("3:9", "blocked by usbmgrd.conf:4")
    domain.boot("USB device 9")
    s.attached("3:9", domain, "USB Keyboard")
    os.unlink("%s/DomainStatus/%s.json" % (RUN, domain.uuid))
    s.emptied(domain)
    wait("the machine is forgotten", lambda: not s.service.vms())
    said = "".join(text for _, text in s.service.evidence())
    s.ok("geheim" not in said, "nothing was said of passwords")


@scenario
def eve_product(s):
    """EVE: a product goes to the machine that has its adapter"""
    world = World(s, "eve { }")
    domain = world.boot(1, "intellimouse")
    adapters(bundle(14, "IntelliMouse", "USB", UsbProduct="045e:0823",
                    ParentAssignmentGroup="USB-controller-1"))
    s.plug("3:10", KEYBOARD)
    s.plug("3:11", MOUSE)
    s.attached("3:11", domain, "Classic IntelliMouse")
    s.refused("3:10", "blocked by")
    # The other controller is no parent of it.
    s.plug("1:5", MOUSE)
    s.refused("1:5", "blocked by")
    said = s.service.device("3:11")
    s.ok(said["reason"] == 'eve: bundle "IntelliMouse"',
         "the reason is " + said["reason"])
    s.service.stop()
    s.service.start()
    s.attached("3:11", domain, "Classic IntelliMouse")
    s.ok(len([c for c in domain.commands()
              if c["execute"] == "device_add"]) == 1,
         "a restart moved nothing")


@scenario
def eve_controller(s):
    """EVE: a controller goes to another machine, and comes back"""
    world = World(s, "eve { }")
    adapters(bundle(14, "P9", "USB", UsbAddr="3:9",
                    ParentAssignmentGroup="USB-controller-1"),
             bundle(14, "P10", "USB", UsbAddr="3:10",
                    ParentAssignmentGroup="USB-controller-1"))
    low = world.boot(1, "P9")
    s.plug("3:9", MOUSE)
    s.plug("3:10", KEYBOARD)
    s.attached("3:9", low, "Classic IntelliMouse", count=None)
    s.attached("3:10", low, "USB Keyboard", count=2)
    # Before its PCI devices are given to it.
    high = Domain(2)
    s.machines.append(high)
    high.start()
    high.status(RUNNING, "USB Controller Phy")
    s.emptied(low)
    s.refused("3:9", 'controller %s belongs to machine "%s"'
              % (controller_of(3), high.name))
    s.empty(high)
    high.status(HALTED)
    s.attached("3:9", low, "Classic IntelliMouse", count=None)
    s.attached("3:10", low, "USB Keyboard", count=2)


SEED = """\
"ioMemberList": [
  {
    "ztype": "IO_TYPE_USB_CONTROLLER",
    "phylabel": "USB Controller Phy",
    "assigngrp": "USB-controller-1",
    "phyaddrs": {
      "PciLong": "%s",
    },
    "logicallabel": "USB Controller",
    "usagePolicy": { }
  },
  {
    "ztype": "IO_TYPE_USB_DEVICE",
    "phylabel": "%s",
    "assigngrp": "USB",
    "phyaddrs": {
      %s,
    },
    "logicallabel": "%s",
    "parentassigngrp": "USB-controller-1"
  }
]
"""


@scenario
def manifest(s):
    """the two manifests that the first description has, as they stand there"""
    for label, address, port, other in (
            ("USB device 9", '"usbaddr": "003:9"', "3:9", "3:8"),
            ("IntelliMouse", '"usbproduct": "045e:0823"', "3:7", "1:7")):
        with open(MODEL, "w") as file:
            file.write(SEED % (controller_of(3), label, address, label))
        win10 = s.machine("win10")
        s.service.write_policy(
            POLICY + 'manifest "model.json"\n'
            'vm "win10" qmp "%s/win10.qmp" adapters { "%s" }\n'
            % (inside.MACHINES, label))
        s.service.start()
        s.plug(port, MOUSE)
        s.attached(port, win10, "Classic IntelliMouse")
        s.plug(other, MOUSE)
        s.refused(other, "blocked by")
        s.service.stop()
        win10.kill()
        s.unplug(port)
        s.unplug(other)
