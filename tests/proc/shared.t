#!/usr/bin/python3
# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""Real QEMUs whose one QMP socket belongs to others, too (monitor shared).

A device that the monitor's stand-in (evil.c, "monitor-plugs") plugs and
unplugs gives the service something to do: QEMU is asked to open it by its
address, which fails, as there is none; what it was given before the service
started, with -device, is adopted and taken out.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from service import (BUILD, Service, equal, run, start,       # noqa: E402
                     status_of, test, wait_for)

QEMU = """qemu-system-x86_64 -machine q35 -nodefaults -display none -S
    -device qemu-xhci,id=xhci""".split()
PLUGGED = "usbmgrd-3-9-22-1"        # what the stand-in plugs
STRANGER = "usbmgrd-3-8-5-2"        # ours, and not plugged any more
TURN = 1                            # s: nobody waits longer for us

VM = 'vm "a" qmp "DIR/a.qmp" monitor shared handover address\n'
POLICY = VM + 'pass port 3:9 to "a"\n'


def given(name, port):
    """QEMU waits for a device that never comes, under a name of ours."""
    return ["-device", "usb-host,vendorid=0xfff0,id=%s,port=%d" % (name, port)]


def qemu(service, *options, name="a"):
    path = service.path(name + ".qmp")
    process = start(QEMU + ["-qmp", "unix:%s,server=on,wait=off" % path,
                            *options], stderr=subprocess.DEVNULL)
    wait_for("socket of QEMU", lambda: os.path.exists(path), 15)
    return process


class Client:
    """Another program that talks to the machine. Waits at most seconds for
    its turn."""

    def __init__(self, service, seconds=TURN, name="a"):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(seconds)
        wait_for("QEMU listens", lambda: self.sock.connect_ex(
            service.path(name + ".qmp")) == 0)
        self.since = time.monotonic()
        self.lines = self.sock.makefile("r")
        self.greeting = None

    def greet(self):
        self.greeting = json.loads(self.lines.readline())["QMP"]
        self.waited = time.monotonic() - self.since
        self.execute("qmp_capabilities")
        return self

    def execute(self, command, **arguments):
        self.sock.sendall(json.dumps(
            {"execute": command, "arguments": arguments}).encode())
        while True:
            answer = json.loads(self.lines.readline())
            if "return" in answer:
                return answer["return"]
            equal("error" in answer, False)

    def devices(self):
        return sorted(
            o["name"] for o in self.execute("qom-list",
                                            path="/machine/peripheral")
            if o["type"] == "child<usb-host>")

    def close(self):
        self.lines.close()
        self.sock.close()


def visit(service):
    """What another program finds; it must get its turn soon."""
    client = Client(service).greet()
    devices = client.devices()
    client.close()
    return devices


def with_plugs(policy=POLICY):
    service = Service(policy)
    service.replace_program("usbmgrd-monitor", BUILD + "/evil")
    with open(service.programs + "/fault", "w") as out:
        out.write("monitor-plugs")
    return service


def toggle(service):
    os.kill(service.pids["monitor"], signal.SIGUSR1)


def released(service):
    return [line for line in service.log("qmpclient")
            if line["event"] == "release"]


def wait_released(service, count, seconds=5):
    wait_for("%d times let go" % count,
             lambda: len(released(service)) >= count, seconds)


def results(service):
    return [line["result"] for line in service.log("qmpclient")
            if line["event"] == "result"]


def state(service):
    return service.machines()["a"][0]


def states(service):
    return [line["state"] for line in service.log("qmpclient")
            if line["event"] == "vm"]


def device(service):
    found = service.devices()
    return found[0] if found else None


def absent(service, reason):
    def is_so():
        return service.machines()["a"] == ("absent", reason)
    since = time.monotonic()
    wait_for("absent", is_so)
    return time.monotonic() - since


@test("others get their turn soon after the first contact and each batch")
def turns():
    service = with_plugs()
    qemu(service)
    service.start()
    wait_for("ready", lambda: state(service) == "ready")
    longest = 0
    for _ in range(4):
        client = Client(service).greet()
        longest = max(longest, client.waited)
        equal(client.devices(), [])
        client.close()
        before = len(results(service))
        toggle(service)
        wait_for("unplugged", lambda: device(service) is None)
        toggle(service)     # another one, which is tried at once
        wait_for("a result", lambda: len(results(service)) > before)
        equal(state(service), "ready")
    held = [line["ms"] for line in released(service)]
    print("# others waited at most %d ms, we held it at most %d ms" % (
        longest * 1000, max(held)))
    equal(max(held) < 1000, True)
    equal(set(results(service)), {"device gone"})
    equal(states(service), ["greeting", "ready"])
    service.is_well()
    equal(service.stop(), 0)


@test("adoption at the first contact, detach in a later one")
def adoption():
    service = with_plugs()
    qemu(service, *given(PLUGGED, 1), *given(STRANGER, 2))
    service.start()
    wait_for("adopted", lambda: (device(service) or {}).get("state")
             == "attached")
    wait_released(service, 1)
    wait_for("detach of what is not plugged", lambda: results(service)
             == ["ok"])
    equal(visit(service), [PLUGGED])
    toggle(service)
    wait_for("detach", lambda: results(service) == ["ok", "ok"])
    equal(visit(service), [])
    equal(states(service), ["greeting", "ready"])
    equal(service.stop(), 0)


@test("a restart adopts again")
def restart():
    service = with_plugs()
    qemu(service, *given(PLUGGED, 1))
    for _ in range(2):
        service.start()
        wait_for("adopted", lambda: (device(service) or {}).get("state")
                 == "attached")
        equal(service.stop(), 0)
        os.rename(service.logs, service.path("log.%f" % time.monotonic()))
    equal(visit(service), [PLUGGED])


@test("while another client holds the socket the machine stays ready and "
      "requests wait")
def held():
    service = with_plugs()
    qemu(service, *given(PLUGGED, 1))
    service.start()
    wait_released(service, 1)
    other = Client(service).greet()
    toggle(service)
    for _ in range(10):
        time.sleep(0.3)
        equal(state(service), "ready")
        equal(other.devices(), [PLUGGED])
    equal(results(service), [])
    other.close()
    since = time.monotonic()
    wait_for("detach", lambda: results(service) == ["ok"])
    equal(time.monotonic() - since < 0.5, True)
    equal(visit(service), [])


@test("when the queue of clients is full, too")
def full():
    service = with_plugs()
    qemu(service, *given(PLUGGED, 1))
    service.start()
    wait_released(service, 1)
    clients = [Client(service).greet(), Client(service, 30),
               Client(service, 30)]
    with socket.socket(socket.AF_UNIX) as one:
        one.setblocking(False)
        equal(one.connect_ex(service.path("a.qmp")), 11)    # EAGAIN
    toggle(service)
    time.sleep(2)
    equal((state(service), results(service)), ("ready", []))
    for client in clients:
        if client.greeting is None:
            client.greet()
        client.close()
    wait_for("detach", lambda: results(service) == ["ok"])
    equal(visit(service), [])


@test("a first contact waits for its turn")
def first():
    service = Service(VM)
    qemu(service)
    other = Client(service).greet()
    service.start()
    wait_for("greeting", lambda: state(service) == "greeting")
    # No greeting in 10 s is no fault of the machine.
    wait_for("reason", lambda: service.machines()["a"]
             == ("greeting", "another client holds its QMP socket, or the "
                 "machine hangs"), 12)
    other.execute("query-status")
    other.close()
    wait_for("ready", lambda: state(service) == "ready")
    equal(states(service), ["greeting", "greeting", "ready"])
    visit(service)


@test("the end of a machine is noticed while nobody is connected")
def ends():
    service = Service(VM).start()
    slowest = 0
    for number in range(1, 6):
        process = qemu(service)
        wait_for("ready", lambda: state(service) == "ready")
        wait_released(service, number)
        time.sleep(0.1)
        if number < 5:
            process.kill()
            slowest = max(slowest, absent(service, "Connection refused"))
            os.unlink(service.path("a.qmp"))
        else:
            process.terminate()
            slowest = max(slowest, absent(service,
                                          "No such file or directory"))
    print("# noticed after at most %d ms" % (slowest * 1000))
    equal(slowest < 1, True)
    service.is_well()


@test("so is its end while a request waits for its turn")
def ends_held():
    service = with_plugs()
    process = qemu(service, *given(PLUGGED, 1))
    service.start()
    wait_released(service, 1)
    other = Client(service).greet()
    toggle(service)
    time.sleep(0.3)
    process.kill()
    absent(service, "Connection refused")
    equal(results(service), ["connection to the machine lost"])
    other.close()
    service.is_well()


@test("another machine in its place has to wait until the first one is dead")
def replaced():
    service = with_plugs()
    first = qemu(service, *given(PLUGGED, 1))
    service.start()
    wait_released(service, 1)
    equal(device(service)["state"], "attached")
    # The first one lives on, and has the device.
    os.rename(service.path("a.qmp"), service.path("first.qmp"))
    second = qemu(service)
    toggle(service)
    wait_for("detach", lambda: results(service) == ["ok"])
    first_has = Client(service, name="first").greet()
    equal(first_has.devices(), [])
    first_has.close()
    equal(states(service), ["greeting", "ready"])
    first.kill()
    wait_for("a loss", lambda: "lost" in states(service))
    wait_for("ready", lambda: state(service) == "ready")
    toggle(service)
    wait_for("a try in the new one", lambda: "device gone"
             in results(service))
    equal(states(service), ["greeting", "ready", "lost", "greeting", "ready"])
    equal(second.poll(), None)
    service.is_well()


@test("what others took out is found gone with the next batch")
def dropped():
    service = with_plugs()
    qemu(service, *given(PLUGGED, 1))
    service.start()
    wait_released(service, 1)
    other = Client(service).greet()
    other.execute("device_del", id=PLUGGED)
    other.close()
    toggle(service)
    wait_for("detach", lambda: results(service) == ["ok"])
    equal(device(service), None)
    service.is_well()


@test("when nothing happens no process wakes up, and nothing stays open")
def idle():
    service = Service(VM)
    qemu(service)
    service.start()
    wait_released(service, 1)
    time.sleep(2)
    pids = {"usbmgrd": service.process.pid, **service.pids}
    fds = {name: len(os.listdir("/proc/%d/fd" % pid))
           for name, pid in pids.items()}
    for _ in range(3):
        before = switches(pids)
        time.sleep(3)
        after = switches(pids)
        if before == after:
            break
    equal(after, before)
    equal({name: len(os.listdir("/proc/%d/fd" % pid))
           for name, pid in pids.items()}, fds)


def switches(pids):
    return {name: int(status_of(pid, "voluntary_ctxt_switches")[0])
            for name, pid in pids.items()}


run()
