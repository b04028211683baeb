#!/usr/bin/python3
# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""Control clients that do wrong lose their connection; nobody else notices."""

import array
import os
import re
import socket
import struct
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from service import (ROOT, Service, equal, run, status_of,    # noqa: E402
                     test, wait_for)

CLIENTS_MAX = 16           # of one user
NONE = b"\0\0\0\0"          # struct msg_none
MACHINES = 50


def message_numbers():
    """As the enum that the C compiler makes of the message table."""
    text = open(ROOT + "/common/msg.h").read()
    names = re.findall(r"^\tX\(MSG_(\w+), P", text, re.MULTILINE)
    return {name: number for number, name in enumerate(names, 1)}


TYPE = message_numbers()


def message(kind, payload=NONE, length=None):
    """A header of imsg(3), host byte order, and what follows."""
    if length is None:
        length = 16 + len(payload)
    return struct.pack("=IIII", kind, length, 0, 0) + payload


def connect(service):
    client = socket.socket(socket.AF_UNIX)
    client.connect(service.socket)
    client.settimeout(5)
    return client


def receive(client):
    """The name of a message without contents."""
    kind, length, peerid, pid = struct.unpack("=IIII", client.recv(16))
    equal((length, peerid, client.recv(4)), (20, 0, NONE))
    return next(name for name in TYPE if TYPE[name] == kind)


def is_closed(client):
    """The other end has closed; what it sent before does not count."""
    try:
        while client.recv(65536):
            pass
    except ConnectionError:
        pass
    client.close()
    return True


def engine_files(service):
    return len(os.listdir("/proc/%d/fd" % service.pids["engine"]))


def refusals(service):
    return [line["reason"] for line in service.log("engine")
            if line["event"] == "client-refused"]


def is_refused(service, data, reason):
    """Sent this, the client is dropped for that reason."""
    before = len(refusals(service))
    client = connect(service)
    client.sendall(data)
    is_closed(client)
    equal(refusals(service)[before:], [reason])


@test("a question gets its answer, on one connection any number of times")
def answers():
    service = Service('vm "a" qmp "DIR/a"\n').start()
    equal(TYPE["CTL_END"] > TYPE["CTL_SHOW_DEVICES"] > 20, True)
    client = connect(service)
    for _ in range(3):
        client.sendall(message(TYPE["CTL_SHOW_DEVICES"]))
        equal(receive(client), "CTL_END")
    # A byte at a time, and the next one half.
    for byte in message(TYPE["CTL_SHOW_DEVICES"]):
        client.sendall(bytes([byte]))
    equal(receive(client), "CTL_END")
    client.sendall(message(TYPE["CTL_SHOW_DEVICES"])[:10])
    service.is_well()
    client.sendall(message(TYPE["CTL_SHOW_DEVICES"])[10:])
    equal(receive(client), "CTL_END")
    client.close()
    equal(refusals(service), [])
    equal(service.stop(), 0)


@test("usbmgrctl prints tables and JSON")
def tables():
    service = Service('vm "a" qmp "DIR/a"\nvm "b" qmp "DIR/b" bus "x.0"\n')
    service.start()
    equal(service.ctl("show", "devices", "-j").stdout, "[]\n")
    equal(service.machines(), {
        name: ("absent", "No such file or directory") for name in "ab"})
    equal(service.ctl("show", "vms").stdout,
          "MACHINE              STATE      DEVICES  REASON\n"
          "a                    absent           0  "
          "No such file or directory\n"
          "b                    absent           0  "
          "No such file or directory\n")


@test("garbage and messages that are none of a client's")
def garbage():
    service = Service().start()
    odd = "Numerical result out of range"
    is_refused(service, b"GET / HTTP/1.0\r\n\r\n", odd)
    is_refused(service, b"\xff" * 1000, odd)
    is_refused(service, bytes(1000), odd)
    is_refused(service, message(1, length=15), odd)
    is_refused(service, message(1, length=16385), odd)
    for number in (0, 9999, 2**32 - 1):
        is_refused(service, message(number),
                   "message %d: no such message" % number)
    foreign = "MSG_%s: not a message of this sender"
    for name in ("LOG", "START", "READY", "CONF_END", "DEVICE", "RESULT",
                 "ATTACH", "CTL_DEVICE", "CTL_END"):
        is_refused(service, message(TYPE[name]), foreign % name)
    wrong = "MSG_CTL_SHOW_VMS: wrong size"
    is_refused(service, message(TYPE["CTL_SHOW_VMS"], b""), wrong)
    is_refused(service, message(TYPE["CTL_SHOW_VMS"], bytes(16368)), wrong)
    service.is_well()


@test("descriptors that a client sends do not arrive")
def descriptor():
    service = Service().start()
    files = engine_files(service)
    client = connect(service)
    for mark, count in ((0x80000000, 1), (0, 1), (0, 200)):
        data = message(TYPE["CTL_SHOW_VMS"], length=mark + 20)
        client.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                 array.array("i", [0] * count))])
        equal(receive(client), "CTL_END")
        equal(engine_files(service), files + 1)
    client.close()
    service.is_well()
    wait_for("the end of the client", lambda: engine_files(service) == files)


@test("half a message, and the end of it")
def half():
    service = Service().start()
    for data in (b"\0", message(TYPE["CTL_SHOW_VMS"])[:-1]):
        client = connect(service)
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        is_closed(client)
    service.is_well()


@test("100 connections that say nothing keep nobody out")
def many():
    service = Service().start()
    clients = [connect(service) for _ in range(100)]
    for _ in range(5):
        service.is_well()
    reasons = refusals(service)
    equal(set(reasons), {"oldest of too many connections of a user"})
    equal(len(reasons) >= 100 - CLIENTS_MAX, True)
    equal(engine_files(service) < CLIENTS_MAX + 16, True)
    for client in clients:
        client.close()
    service.is_well()
    equal(service.stop(), 0)


@test("100 connections that come and go")
def come_and_go():
    service = Service().start()
    files = engine_files(service)
    for _ in range(100):
        client = connect(service)
        client.sendall(message(TYPE["CTL_SHOW_DEVICES"]))
        client.close()
    service.is_well()
    wait_for("the end of them", lambda: engine_files(service) == files)
    equal(refusals(service), [])


@test("a client that asks and does not read is dropped, memory stays bounded")
def deaf():
    service = Service("".join('vm "m%d" qmp "DIR/%d"\n' % (n, n)
                              for n in range(MACHINES))).start()
    pid = service.pids["engine"]
    before = int(status_of(pid, "VmRSS")[0])
    clients = []
    for _ in range(5):
        client = connect(service)
        client.setblocking(False)
        try:
            for _ in range(1000):       # 20 MB of answers
                client.send(message(TYPE["CTL_SHOW_VMS"]))
        except (BlockingIOError, ConnectionError):
            pass
        clients.append(client)
    wait_for("refusals", lambda: len(refusals(service)) == len(clients))
    equal(set(refusals(service)), {"does not read"})
    service.is_well()
    equal(len(service.machines()), MACHINES)
    # Five queues of 1 MB, and what malloc adds.
    equal(int(status_of(pid, "VmHWM")[0]) - before < 20 * 1024, True)
    for client in clients:
        client.close()
    equal(service.stop(), 0)


@test("a client in the middle of its answer does not hold up the end")
def stop_meanwhile():
    service = Service("".join('vm "m%d" qmp "DIR/%d"\n' % (n, n)
                              for n in range(MACHINES))).start()
    client = connect(service)
    for _ in range(20):
        client.sendall(message(TYPE["CTL_SHOW_VMS"]))
    since = time.monotonic()
    equal(service.stop(), 0)
    equal(time.monotonic() - since < 2, True)
    is_closed(client)


run()
