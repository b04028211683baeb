#!/usr/bin/python3
# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
#
# Random policies and devices: what usbmgrctl replay decides is what the
# manual page says, as tests/e2e/oracle.py, which chaos relies on, reads it.

import json
import os
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, HERE + "/../e2e")
import oracle               # noqa: E402
import plan                 # noqa: E402

CTL = HERE + "/../../build/usbmgrctl"
SEED, POLICIES = 1, 300


def devices(plugged):
    """What a plan has plugged, as the oracle knows it."""
    for port, kind in sorted(plugged.items()):
        device = plan.KINDS.get(kind) or plan.EMULATED[kind]
        yield dict({"serial": ""}, port=port, **device)


def event(device):
    bus, chain = device["port"].split(":")
    return {"event": "device-add", "bus": int(bus), "port": chain,
            "devnum": 5, "vendor": device["vendor"],
            "product": device["product"], "serial": device["serial"],
            "interfaces": [(interface + ":00:00")[:8]
                           for interface in device["interfaces"]],
            "peer": None if "." in chain else oracle.peer(device["port"])}


def replay(path, events):
    """{port: machine} of what is attached in the end."""
    done = subprocess.run(
        [CTL, "replay", "-f", path, "-"], check=False, text=True,
        input="".join(json.dumps(some) + "\n" for some in events),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise SystemExit("%s: %s" % (path, done.stderr))
    places = {}
    for action in map(json.loads, done.stdout.splitlines()):
        places[action["device"]] = action.get("vm")
    return places


def wrong(path, text, plugged):
    with open(path, "w") as file:
        file.write(text)
    policy = oracle.Policy(text)
    places = replay(path, [{"event": "vm-up", "vm": name}
                           for name in policy.pledges] +
                    [event(device) for device in devices(plugged)])
    for device in devices(plugged):
        wanted = (policy.machines(device) + [None])[0]
        if places.get(device["port"]) != wanted:
            yield "%s belongs to %s, replay says %s" % (
                device["port"], wanted, places.get(device["port"]))


def main():
    made = plan.Plan(SEED)
    failed = 0
    with tempfile.TemporaryDirectory() as directory:
        for number in range(1, POLICIES + 1):
            while len(made.plugged) < 6:
                made._plug()
            text = made.policies.policy()
            found = list(wrong(directory + "/usbmgrd.conf", text,
                               made.plugged))
            failed += bool(found)
            for line in found:
                print("# %d: %s" % (number, line))
                print("#   " + "\n#   ".join(text.splitlines()))
            made.plugged.clear()
    print("%s 1 - %d random policies" % ("not ok" if failed else "ok",
                                         POLICIES))
    print("1..1")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
