# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""Scenarios of machines that do not behave, and of those that take part in
what others do with them: ports, migration, devices of somebody else.
"""

import datetime
import os
import signal
import socket
import statistics
import subprocess
import sys
import time

import inside
from inside import KEYBOARD, MOUSE, SERIAL, wait
from scenario import scenario

PEER = inside.HERE + "/../proc/qmp_peer.py"
ROUNDS = 6
LATE = 30           # s, of qmp_peer.py
COMMANDS = {"device": "device_add", "device-gone": "device_del"}
FAST_MOUSE = dict(MOUSE, speed="480")
FREE_PORT = "It is tried again when a guest port is free."


def peer(s, name, when, fault):
    """A machine that is no QEMU, and what the policy says of it."""
    path = "%s/%s.qmp" % (inside.MACHINES, name)
    s.others.append(subprocess.Popen([sys.executable, PEER, path, when, fault],
                                     stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL))
    wait("%s listens" % name, lambda: os.path.exists(path))
    return declared(name)


def declared(name, options=""):
    return 'vm "%s" qmp "%s/%s.qmp" %s' % (name, inside.MACHINES, name,
                                           options)


def moment(record):
    return datetime.datetime.strptime(record["time"], "%Y-%m-%dT%H:%M:%S.%fZ")


def milliseconds(s, port, number, event):
    """From what the monitor heard of a device to what QEMU answered; and
    without the time that QEMU took for that.
    """
    heard = [record for record in s.service.log("monitor")
             if record["event"] == event and record["device"] == port
             and record["devnum"] == number][-1]
    request = [record["request"] for record in s.service.log("engine")
               if record["event"] == "attach" and record["device"] == port
               and record["devnum"] == number][-1]
    qemu, answer = [
        [record for record in s.service.log("qmpclient")
         if record["event"] == kind and record.get("request") == request
         and record.get("command", command) == command
         and moment(record) > moment(heard)][0]
        for kind, command in (("qmp", COMMANDS[event]),
                              ("result", COMMANDS[event]))]
    total = (moment(answer) - moment(heard)) / datetime.timedelta(
        milliseconds=1)
    return total, total - qemu["ms"]


def rounds(s, port, machine, count=ROUNDS):
    """Medians of some plugs and unplugs, in ms."""
    attach, detach = [], []
    for _ in range(count):
        number = s.plug(port, MOUSE)
        s.service.device(port, state="attached", vm=machine.name)
        s.unplug(port)
        wait("%s loses %s" % (machine.name, port),
             lambda: not machine.devices())
        wait("the answer is logged", lambda: [
            record for record in s.service.log("engine")
            if record["event"] == "detach" and record["devnum"] == number])
        time.sleep(0.2)
        attach.append(milliseconds(s, port, number, "device")[0])
        detach.append(milliseconds(s, port, number, "device-gone")[0])
    return statistics.median(attach), statistics.median(detach)


@scenario
def isolation(s):
    """machines that hang, are mute, slow or flood: the others' usual time"""
    win10, linux = s.machine("win10"), s.machine("linux")
    late = peer(s, "late", "device_add", "late")
    s.usbmgrd('damping off', late, declared("mute"), declared("flood"),
              'pass port 3:9 to "win10"', 'pass port 3:10 to "linux"',
              'pass port 3:11 to "late"', 'timeout reply 60')
    for name in "win10", "linux", "late":
        s.ready(name)
    usual = rounds(s, "3:9", win10)
    linux.process.send_signal(signal.SIGSTOP)
    peer(s, "mute", "greeting", "silence")
    peer(s, "flood", "idle", "flood")
    s.ready("flood")
    s.plug("3:10", KEYBOARD)
    asked = time.monotonic()
    s.plug("3:11", SERIAL)
    s.service.device("3:11", state="attaching")
    now = rounds(s, "3:9", win10)
    for what, before, after in zip(("attach", "detach"), usual, now):
        # Twice, and what a busy host may need.
        s.ok(after < 2 * before + 100, "%s in %.0f ms when all are well, in "
             "%.0f ms beside four that are not" % (what, before, after))
    states = {name: vm["state"] for name, vm in s.service.vms().items()}
    s.ok(states["mute"] in ("greeting", "lost") and
         states["flood"] == "ready", "they are: %s" % ", ".join(
             "%s %s" % item for item in sorted(states.items())))
    s.service.device("3:11", state="attached", vm="late",
                     seconds=LATE + inside.SECONDS)
    s.ok(time.monotonic() - asked > LATE - 5,
         "the one that answers after %d s has its device by now" % LATE)
    linux.process.send_signal(signal.SIGCONT)
    s.attached("3:10", linux, "USB Keyboard")


@scenario
def socket_goes_first(s):
    """a socket that has gone is no sign that its machine has"""
    win10, linux = s.machine("win10"), s.machine("linux")
    s.usbmgrd('pass port 3:9 to { "linux" "win10" }',
              'pass port 3:10 to "linux"', linux="timeout reply 2")
    s.plug("3:9", MOUSE)
    s.attached("3:9", linux, "Classic IntelliMouse")
    linux.process.send_signal(signal.SIGSTOP)
    os.unlink(linux.path("qmp"))
    s.plug("3:10", KEYBOARD)
    s.service.device("3:9", state="held")
    time.sleep(3)
    s.ok(s.holders("3:9") == ["linux"], "it is in linux, in no other: %s"
         % s.service.devices()["3:9"]["reason"])
    linux.process.send_signal(signal.SIGCONT)
    s.attached("3:9", linux, "Classic IntelliMouse", count=None)
    s.attached("3:10", linux, "USB Keyboard", count=2)
    linux.process.send_signal(signal.SIGSTOP)
    s.unplug("3:10")
    s.service.device("3:9", state="held")
    linux.kill()
    s.attached("3:9", win10, "Classic IntelliMouse")


@scenario
def given_back(s):
    """what a killed machine had goes back to the host, if policy agrees"""
    win10, linux = s.machine("win10"), s.machine("linux")
    s.usbmgrd('pass port 3:9 to "win10"', 'pass port 3:10 to "linux"',
              linux="release nobody")
    s.plug("3:9", MOUSE)
    s.plug("3:10", MOUSE)
    wait("the host's driver", lambda: driver("3:9") == "usbhid")
    s.attached("3:9", win10, "Classic IntelliMouse")
    s.attached("3:10", linux, "Classic IntelliMouse")
    s.ok(not {driver("3:9"), driver("3:10")} - {None, "usbfs"},
         "meanwhile the host's driver has neither")
    win10.kill()
    linux.kill()
    s.refused("3:9", "down")
    s.refused("3:10", "down")
    wait("the host's driver is back", lambda: driver("3:9") == "usbhid")
    s.ok(driver("3:10") is None, "3:9 has usbhid again, 3:10 has no driver")
    win10.start()
    s.attached("3:9", win10, "Classic IntelliMouse")


def driver(port):
    try:
        return os.path.basename(os.readlink(inside.sysfs(port)
                                            + ":1.0/driver"))
    except OSError:
        return None


@scenario
def guest_ports(s):
    """ports of the guest: all there are, and never a hub of QEMU's"""
    win10 = s.machine("win10", "-device", "qemu-xhci,id=small,p2=3,p3=3",
                      "-device", "usb-tablet,id=tablet,bus=small.0,port=1")
    s.policy(declared("win10", 'bus "small.0"'),
             'pass port { 3:9 3:10 3:11 3:12 } to "win10"')
    for count, port in enumerate(("3:9", "3:10"), 1):
        s.plug(port, MOUSE)
        s.attached(port, win10, "Classic IntelliMouse", count=count)
    for port in "3:11", "3:12":
        s.plug(port, MOUSE)
        said = s.service.device(port, state="failed")
        s.ok("no free guest port" in said["reason"] and
             FREE_PORT in s.service.usbmgrctl("explain", port),
             said["reason"])
    s.soon("an unplug", lambda: s.unplug("3:10"), lambda: s.service.device(
        "3:11", state="attached"))
    s.soon("somebody else's device_del",
           lambda: win10.look.execute("device_del", id="tablet"),
           lambda: s.attached("3:12", win10, "Classic IntelliMouse", count=3))
    s.ok(sorted(port for port, _ in win10.guest_ports()) == ["1", "2", "3"]
         and "Hub" not in win10.look.execute("x-query-usb")
         ["human-readable-text"], "QEMU has made no hub of its own")


@scenario
def speeds(s):
    """a device that the guest's bus cannot take is not even tried"""
    win10 = s.machine("win10", "-device", "usb-ehci,id=ehci")
    linux = s.machine("linux", "-device", "ich9-usb-ehci1,id=ehci",
                      "-device", "ich9-usb-uhci1,masterbus=ehci.0,"
                      "firstport=0")
    s.policy(declared("win10", 'bus "ehci.0"'),
             declared("linux", 'bus "ehci.0"'),
             'pass port { 3:9 3:10 } to "win10"',
             'pass port 3:11 to "linux"')
    s.plug("3:9", MOUSE)
    said = s.service.device("3:9", state="failed")
    s.ok("bus ehci.0 takes high speed only, the device runs at full speed"
         in said["reason"] and not win10.commands(), said["reason"])
    s.plug("3:10", FAST_MOUSE)
    s.attached("3:10", win10, "Classic IntelliMouse")
    s.plug("3:11", MOUSE)
    s.attached("3:11", linux, "Classic IntelliMouse")


def everybody_may_open(port):
    inside.run("udevadm", "settle", "--timeout=30")
    os.chmod(inside.usbfs_path(port), 0o666)
    os.chmod("/dev/bus/usb", 0o755)


def only_root_may_open():
    os.chmod("/dev/bus/usb", 0o700)


@scenario
def unopened(s):
    """handover address: what QEMU may not open is tried a few times"""
    win10 = s.machine("win10")
    s.usbmgrd('pass port 3:9 to "win10"', win10="handover address")
    s.ready("win10")
    s.ok("handover address" in s.service.vms()["win10"]["reason"],
         s.service.vms()["win10"]["reason"])
    s.plug("3:9", MOUSE)
    said = s.service.device("3:9", state="failed")
    s.ok("cannot open it: failed to open host usb device" in said["reason"],
         said["reason"])
    s.service.device("3:9", 40, state="failed", retry_ms=0)
    tries = [command["execute"] for command in win10.commands()]
    s.ok(tries == ["device_add"] * 4, "it was tried four times")
    everybody_may_open("3:9")
    win10.kill()
    win10.start()
    s.attached("3:9", win10, "Classic IntelliMouse")
    only_root_may_open()


@scenario
def without_controller(s):
    """a machine gets its USB controller later"""
    win10 = s.machine("win10", "-device", "pcie-root-port,id=root",
                      controller=())
    s.usbmgrd('pass port 3:9 to "win10"')
    s.plug("3:9", MOUSE)
    said = s.service.device("3:9", state="failed")
    s.ok("no USB controller: it has no USB bus \"xhci.0\"" in said["reason"],
         said["reason"])
    win10.look.execute("device_add", driver="qemu-xhci", id="xhci", bus="root")
    s.attached("3:9", win10, "Classic IntelliMouse")


@scenario
def of_others(s):
    """what somebody else gave to a machine is reported and left to him"""
    win10, linux = s.machine("win10"), s.machine("linux")
    s.plug("3:9", MOUSE)
    everybody_may_open("3:9")
    bus, number = inside.address("3:9")
    win10.look.execute("device_add", driver="usb-host", id="his",
                       hostbus=bus, hostaddr=number, bus="xhci.0", port="3")
    win10.look.execute("device_add", driver="usb-host", vendorid=0x413c,
                       productid=0x2107, bus="xhci.0", port="4")
    only_root_may_open()
    s.usbmgrd('pass port { 3:9 3:10 3:11 } to "linux"')
    s.refused_by("3:9", 'machine "win10" was given it by somebody else, as his')
    s.ok(s.holders("3:9") == ["win10"], "it stays where it is")
    s.plug("3:10", KEYBOARD)
    s.refused_by("3:10", 'machine "win10" was given it by somebody else, as '
                 "/machine/peripheral-anon/device[0]")
    s.plug("3:11", SERIAL)
    s.attached("3:11", linux, "FT232R USB UART")
    s.ok(any(record["event"] == "vm-foreign" and record["id"] == "his"
             for record in s.service.log("engine")), "the log has it")
    win10.look.execute("device_del", id="his")
    s.attached("3:9", linux, "Classic IntelliMouse", count=2)


@scenario
def guest_moves(s):
    """reset, pause: the device stays; migration: nothing is asked meanwhile"""
    win10 = s.machine("win10")
    s.usbmgrd('pass port { 3:9 3:10 } to "win10"')
    s.plug("3:9", MOUSE)
    s.attached("3:9", win10, "Classic IntelliMouse")
    ids, number = win10.devices(), inside.devnum("3:9")
    for command in "system_reset", "stop", "cont":
        win10.look.execute(command)
        time.sleep(0.5)
        s.ok(win10.devices() == ids and inside.devnum("3:9") == number and
             s.holders("3:9") == ["win10"], "%s: it stays" % command)
    sink = listener(s, win10.path("sink"))
    win10.look.execute("migrate-set-parameters", **{"max-bandwidth": 1000})
    win10.look.execute("migrate", uri="unix:" + win10.path("sink"))
    wait("usbmgrd hears of it", lambda:
         "migrating" in s.service.vms()["win10"]["reason"])
    before = win10.commands()
    s.plug("3:10", KEYBOARD)
    s.refused_by("3:10", 'machine "win10" is migrating')
    s.unplug("3:9")
    time.sleep(2)
    s.ok(win10.commands() == before and win10.devices() == ids,
         "nothing is asked of it while it migrates")
    win10.look.execute("migrate_cancel")
    s.attached("3:10", win10, "USB Keyboard", count=1)
    s.ok("migrating" not in s.service.vms()["win10"]["reason"],
         "what was to be done is done afterwards")
    sink.close()
    # To its end: the machine is here still, and so are its devices.
    s.drain = listener(s, win10.path("drain"), drain=True)
    win10.look.execute("migrate-set-parameters", **{"max-bandwidth": 1 << 30})
    win10.look.execute("migrate", uri="unix:" + win10.path("drain"))
    wait("it has migrated", lambda: win10.look.execute(
        "query-status")["status"] == "postmigrate")
    s.attached("3:10", win10, "USB Keyboard", count=1)
    s.unplug("3:10")
    s.gone("3:10", win10)


def listener(s, path, drain=False):
    """The other end of a migration: takes nothing, or all."""
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(path)
    os.chmod(path, 0o777)
    sock.listen(1)
    if drain:
        code = ("import socket, sys; s = socket.socket(fileno=0); "
                "c = s.accept()[0]\nwhile c.recv(65536): pass")
        s.others.append(subprocess.Popen([sys.executable, "-c", code],
                                         stdin=sock))
    return sock
