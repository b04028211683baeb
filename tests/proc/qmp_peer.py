#!/usr/bin/python3
# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""A QMP server with one fault that a real QEMU cannot be made to show.

usage: qmp_peer.py SOCKET WHEN FAULT

It greets and answers well until WHEN: "greeting" (in its place), "idle" (when
nothing was asked for a while) or the name of a command (in place of its
answer). Then FAULT comes, and silence until the client is gone; after "late",
which is 30 s of silence, the right answer. One client at a time, as QEMU; each
one gets the fault. SIGTERM ends it.
"""

import json
import os
import select
import socket
import sys
import time

IDLE_SECONDS = 0.3
LATE_SECONDS = 30
ENDLESS_BYTES = 100 * 1024 * 1024

GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 99},
                                "package": "peer"}, "capabilities": ["oob"]}}
XHCI = "/machine/peripheral/xhci"
OBJECTS = {
    "/machine/peripheral": {"xhci": "child<qemu-xhci>"},
    XHCI: {"p2": "uint32", "p3": "uint32", "xhci.0": "child<usb-bus>"},
    XHCI + "/xhci.0": {"realized": "bool"},
}
PROPERTIES = {(XHCI, "p2"): 4, (XHCI, "p3"): 4}


def event(name, **data):
    return line({"timestamp": {"seconds": 0, "microseconds": 0},
                 "event": name, "data": data})


def line(message):
    return json.dumps(message).encode() + b"\r\n"


def error(text, kind="GenericError"):
    return {"error": {"class": kind, "desc": text}}


def answer(command, arguments):
    """What a QEMU with one empty xHCI controller says."""
    if command == "qom-list":
        members = OBJECTS.get(arguments["path"])
        if members is None:
            return error("Device '%s' not found" % arguments["path"],
                         "DeviceNotFound")
        return {"return": [{"name": n, "type": t}
                           for n, t in members.items()]}
    if command == "qom-get":
        return {"return": PROPERTIES[arguments["path"],
                                     arguments["property"]]}
    if command == "query-status":
        return {"return": {"status": "running", "running": True}}
    if command == "x-query-usb":
        return {"return": {"human-readable-text": ""}}
    if command == "query-commands":
        return {"return": [{"name": "add-fd"}, {"name": "device_add"}]}
    if command == "device-list-properties":
        return {"return": [{"name": "hostdevice", "type": "str"}]}
    return {"return": {}}


# What each fault sends; b"" is silence.
FAULTS = {
    "silence": b"",
    "garbage": b"\x7fELF hello\r\n",
    "nul": b'{"return": "\0"}\r\n',
    "not-utf8": b'{"event": "\xff\xfe", "data": {}}\r\n',
    "deep": b'{"return": ' + b"[" * 100000 + b"]" * 100000 + b"}\r\n",
    "infinity": b'{"return": {}, "id": inf}\r\n',
    "empty": b"\r\n",
    "array": b"[]\r\n",
    "half": b'{"event": "POWER',
    "other-id": line({"return": {}, "id": 4711}),
    "no-id": line({"return": {}}),
    "two-greetings": line(GREETING),
    "event": event("STOP"),
    "bare-greeting": line({"QMP": {}}),
    "hostile-error": None,
    "late": None,
    "old": None,
    "migrates": None,
    "incoming": None,
    "restless": None,
    "moving": None,
    "error": None,
    "endless": None,
    "flood": None,
    "close": None,
    "half-close": None,
}


# These answer well, too.
SEQUELS = ("late", "incoming", "restless", "moving")


class Gone(Exception):
    pass


def send(sock, data):
    try:
        sock.sendall(data)
    except OSError:
        raise Gone


def send_endless(sock):
    """100 MB and no line end; says how much of it was taken."""
    block = b"x" * 65536
    sent = 0
    try:
        while sent < ENDLESS_BYTES:
            sent += sock.send(block)
    except OSError:
        pass
    print("endless: %d bytes taken" % sent, flush=True)


def fault(sock, kind, ident):
    if kind == "endless":
        send_endless(sock)
    elif kind == "flood":
        data = event("RESUME") + event("DEVICE_DELETED", device="other")
        while True:
            send(sock, data * 100)
    elif kind == "close":
        raise Gone
    elif kind == "half-close":
        send(sock, FAULTS["half"])
        raise Gone
    elif kind in ("old", "error"):
        # A QEMU that has less, and is well otherwise.
        reply = error("not here") if kind == "error" else {"return": []}
        reply["id"] = ident
        send(sock, line(reply))
        return
    elif kind == "hostile-error":
        reply = error("\x1b]0;owned\x07\n" + "A" * 100000)
        reply["id"] = ident
        send(sock, line(reply))
        return
    else:
        send(sock, FAULTS[kind])
    while sock.recv(65536):
        pass
    raise Gone


def migrates(sock, execute, told):
    """A migration that fails at once, while it is asked which ports are free.

    Which it is when something was taken out. True when that was told.
    """
    if execute is None and not told:
        send(sock, event("DEVICE_DELETED", device="other"))
    if execute == "x-query-usb" and told:
        send(sock, event("MIGRATION", status="setup") +
             event("MIGRATION", status="failed"))
        return False
    return told or execute is None


def incoming(sock, ident):
    """A migration to here ends when this was answered."""
    send(sock, line({"return": {"status": "inmigrate", "running": False},
                     "id": ident}) + event("RESUME"))


def commands(sock, idle):
    """The commands that come in; None whenever there is none for a while."""
    decoder = json.JSONDecoder()
    text = ""
    while True:
        text = text.lstrip()
        try:
            command, end = decoder.raw_decode(text)
        except ValueError:
            if idle and not select.select([sock], [], [], IDLE_SECONDS)[0]:
                yield None
                continue
            data = sock.recv(65536)
            if not data:
                return
            text += data.decode()
            continue
        text = text[end:]
        yield command


def serve(sock, when, kind):
    if when == "greeting":
        fault(sock, kind, None)
    send(sock, line(GREETING))
    told = came = False
    for command in commands(sock, when == "idle"):
        execute = command and command["execute"]
        if kind == "migrates":
            told = migrates(sock, execute, told)
        if kind == "restless" and execute == when:
            send(sock, event("MIGRATION", status="completed"))
        if kind == "moving" and execute == when and not came:
            send(sock, event("MIGRATION", status="active"))
            came = True
        if kind == "incoming" and execute == when and not came:
            incoming(sock, command["id"])
            came = True
            continue
        if command is None and kind == "migrates":
            continue
        if command is None:
            fault(sock, kind, None)
        elif execute == when and kind not in SEQUELS:
            fault(sock, kind, command.get("id"))
        else:
            if execute == when and kind == "late":
                time.sleep(LATE_SECONDS)
            reply = answer(execute, command.get("arguments", {}))
            reply["id"] = command.get("id")
            send(sock, line(reply))


def main():
    if len(sys.argv) != 4 or sys.argv[3] not in FAULTS:
        sys.exit("usage: qmp_peer.py SOCKET WHEN FAULT\nFAULT is one of: " +
                 " ".join(sorted(FAULTS)))
    path, when, kind = sys.argv[1:]
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(path + ".new")
    listener.listen(1)
    os.rename(path + ".new", path)
    while True:
        sock = listener.accept()[0]
        with sock:
            try:
                serve(sock, when, kind)
            except (Gone, ConnectionError):
                pass


if __name__ == "__main__":
    main()
