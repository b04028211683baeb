# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""Scenarios of what people do: devices moved by hand, another policy while
all runs, and what the logs say of it afterwards.
"""

import json
import os
import re
import subprocess

import inside
from inside import HUB, KEYBOARD, MOUSE, SERIAL, STICK, wait
from scenario import scenario


def ctl(*words):
    """usbmgrctl, without a daemon too: exit status, output, errors."""
    done = subprocess.run([inside.BINARIES + "/usbmgrctl", *words],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, timeout=30,
                          check=False)
    return done.returncode, done.stdout, done.stderr


def log_path(name):
    return "%s/%s.log" % (inside.LOGS, name)


def says(s, status, text, *words):
    got, out, err = ctl(*words)
    s.ok(got == status and text in out + err, "%s: %s, status %d" %
         (" ".join(words), (out + err).strip(), got))


def verified(s):
    status, out, err = ctl("audit", "verify",
                           *map(log_path, inside.LOG_NAMES))
    s.ok(status == 0 and out.count("all in their places") == 4,
         "audit verify: %s %s" % (out, err))


def replayed(s, *policies):
    """The engine's log gives the decisions that it holds."""
    options = [word for path in policies for word in ("-f", path)]
    status, out, err = ctl("replay", *options, log_path("engine"))
    decided = [(record["event"], record["device"], record.get("vm"),
                record["reason"]) for record in s.service.log("engine")
               if record["event"] in ("attach", "detach", "hold")]
    again = [(action["action"], action["device"], action.get("vm"),
              action["reason"]) for action in map(json.loads,
                                                  out.splitlines())]
    s.ok(status == 0 and decided and again == decided,
         "replay gives the %d decisions of the log %s" % (len(decided), err))


def traced(s, request, *patterns):
    status, out, err = ctl("audit", "trace", str(request))
    at = 0
    for pattern in patterns:
        found = re.search(pattern, out[at:], re.S)
        s.ok(found, "trace of %d goes on with %s" % (request, pattern))
        at += found.end() if found else 0
    s.ok(status == 0 and not err and
         all(len(line) <= 80 for line in out.splitlines()),
         "in lines of 80 columns")
    return out


@scenario
def by_hand(s):
    """attach, detach and policy count until the device is unplugged"""
    win10, linux = s.machine("win10"), s.machine("linux")
    s.usbmgrd('pass port 3:9 to "win10"', 'pass product 0403:6001 to "linux"',
              win10='pledge "mouse"')
    s.plug("3:9", MOUSE)
    s.plug("3:10", KEYBOARD)
    s.plug("3:1", HUB)
    s.attached("3:9", win10, "Classic IntelliMouse")
    s.ready("linux")
    says(s, 0, "3:9 is attached to linux", "attach", "intellimouse", "linux")
    s.attached("3:9", linux, "Classic IntelliMouse")
    s.emptied(win10)
    says(s, 0, "3:9 is held: detached by hand", "detach", "3-9")
    s.emptied(linux)
    s.refused("3:9", "detached by hand (uid 0)")
    says(s, 0, "3:9 is attached to win10", "policy", "045e:0823")
    s.attached("3:9", win10, "Classic IntelliMouse")
    says(s, 1, 'pledge of machine "win10": it has an interface of class',
         "attach", "3:10", "win10")
    says(s, 1, "hub", "attach", "-f", "3:1", "win10")
    says(s, 1, "has no machine", "attach", "3:10", "win11")
    says(s, 0, "forced", "attach", "-f", "3:10", "win10")
    s.attached("3:10", win10, "USB Keyboard", count=2)
    s.unplug("3:10")
    s.plug("3:10", KEYBOARD)
    s.refused("3:10", "blocked")
    says(s, 0, "3:9 is attached to linux", "att", "3:9", "linux")
    linux.kill()
    s.refused("3:9", 'machine "linux", to which it was attached by hand')
    linux.start()
    s.attached("3:9", linux, "Classic IntelliMouse")
    s.service.stop()
    uids = {record["uid"] for record in s.service.log("engine")
            if record["event"] == "override"}
    s.ok(uids == {0}, "the log has who did it")
    verified(s)
    replayed(s, inside.POLICY)


@scenario
def reload(s):
    """another policy under devices that are attached; errors change nothing"""
    win10, linux = s.machine("win10"), s.machine("linux")
    s.usbmgrd('pass port { 3:9 3:10 } to "win10"', 'pass port 3:11 to "linux"')
    first = inside.read(inside.POLICY) + "\n"
    s.plug("3:9", MOUSE)
    s.plug("3:10", KEYBOARD)
    s.plug("3:11", SERIAL)
    s.attached("3:9", win10, "Classic IntelliMouse", count=None)
    s.attached("3:10", win10, "USB Keyboard", count=2)
    s.attached("3:11", linux, "FT232R USB UART")
    before = win10.commands()
    s.service.write_policy(first + "pass port 3:9 to nobody\nblok\n")
    says(s, 1, ": unknown vm \"nobody\"", "reload")
    s.ok(win10.commands() == before, "the old policy stays")
    s.service.write_policy(first.replace("{ 3:9 3:10 }", "3:9"))
    says(s, 0, "policy loaded: 2 machines", "reload")
    s.refused("3:10", "blocked")
    s.attached("3:9", win10, "Classic IntelliMouse")
    s.ok(win10.commands()[len(before):] and
         all(command["execute"] in ("device_del", "remove-fd")
             for command in win10.commands()[len(before):]),
         "nothing but the keyboard was touched")
    without = "\n".join(line for line in first.splitlines()
                        if '"linux"' not in line) + "\n"
    s.service.write_policy(without)
    says(s, 0, "policy loaded: 1 machines", "reload")
    s.emptied(linux)
    s.ok(set(s.service.vms()) == {"win10"}, "linux has left")
    s.refused("3:11", "blocked")
    s.attached("3:9", win10, "Classic IntelliMouse", count=None)
    s.attached("3:10", win10, "USB Keyboard", count=2)
    s.service.write_policy(first)
    says(s, 0, "policy loaded: 2 machines", "reload")
    s.attached("3:11", linux, "FT232R USB UART")
    s.service.stop()
    verified(s)
    # Decisions point to lines of a file of that name.
    policies = []
    for number, text in enumerate((first, first.replace("{ 3:9 3:10 }", "3:9"),
                                   without)):
        directory = "/run/policies/%d" % number
        os.makedirs(directory, exist_ok=True)
        policies.append(directory + "/usbmgrd.conf")
        with open(policies[-1], "w") as file:
            file.write(text)
    replayed(s, *policies)
    status, _, err = ctl("replay", "-f", policies[0], log_path("engine"))
    s.ok(status == 1 and "another policy was in force from here on" in err,
         "a policy that is not given is missed: %s" % err)


@scenario
def story(s):
    """the logs tell one plug from the uevent to the end"""
    win10 = s.machine("win10")
    s.usbmgrd('pass port 3:9 to "win10"', 'pass port 4:9 to "win10"')
    s.plug("3:9", MOUSE)
    s.attached("3:9", win10, "Classic IntelliMouse")
    request = s.service.device("3:9")["request"]
    number = inside.devnum("3:9")
    s.unplug("3:9")
    s.gone("3:9", win10)
    s.plug("4:9", STICK)
    s.attached("4:9", win10, "QEMU USB HARDDRIVE")
    wait("its end in the log",
         lambda: "device-gone" in inside.read(log_path("monitor")))
    out = traced(
        s, request, r"Request %d: device 3:9 \(number %d\), 045e:0823 "
        "Classic" % (request, number), r"0\.000 ms  monitor +sees it, uevent",
        r"engine +is told of it",
        r'engine +decides: to "win10": usbmgrd.conf:\d+',
        r"usbmgrd +opens /dev/bus/usb/003/%03d" % number,
        r'qmpclient +"win10" answers add-fd after \d+ ms: ok',
        "answers device_add after", r"engine +done, it is in guest port",
        r"monitor +sees that it is unplugged",
        r'engine +decides: out of "win10": device removed',
        "answers device_del", r"engine +done, it is out")
    for line in out.splitlines():
        print("#   " + line)
    s.service.stop()
    verified(s)
    text = inside.read(log_path("engine"))
    with open("/run/forged.log", "w") as file:
        file.write(text.replace('"vm":"win10"', '"vm":"linux"', 1) + "\n")
    line = next(number for number, line in enumerate(text.splitlines(), 1)
                if '"vm":"win10"' in line)
    says(s, 1, "/run/forged.log:%d: this line was changed" % line,
         "audit", "verify", "/run/forged.log")
    replayed(s, inside.POLICY)


@scenario
def told(s):
    """monitor tells what happens; rules count; counters and the tree show"""
    win10 = s.machine("win10")
    s.usbmgrd('pass port { 3:9 3:1.2 } to "win10"')
    s.ready("win10")
    watcher = subprocess.Popen(
        [inside.BINARIES + "/usbmgrctl", "monitor", "-j"],
        stdin=subprocess.DEVNULL, stdout=open("/run/watched", "w"))
    reader = subprocess.Popen(
        [inside.BINARIES + "/usbmgrctl", "monitor"],
        stdin=subprocess.DEVNULL, stdout=open("/run/read", "w"))
    for path in "/run/watched", "/run/read":
        wait("it watches", lambda: "connected" in (inside.read(path) or ""))
    try:
        s.plug("3:1", HUB)
        s.plug("3:1.2", KEYBOARD)
        s.plug("3:9", MOUSE)
        s.attached("3:9", win10, "Classic IntelliMouse", count=None)
        s.attached("3:1.2", win10, "USB Keyboard", count=2)
        s.unplug("3:9")
        s.gone("3:9", win10, others=1)
        s.service.stop()
        s.service.start()
        s.ready("win10")
        wait("it is back", lambda: inside.read("/run/watched")
             .count('"connected"') == 2)
        s.plug("3:9", MOUSE)
        s.attached("3:9", win10, "Classic IntelliMouse", count=2)
    finally:
        for process in watcher, reader:
            process.terminate()
            process.wait()
    for line in inside.read("/run/read").splitlines():
        print("#   " + line)
        s.ok(len(line) <= 80, "a line of up to 80 columns for people")
    events = [json.loads(line)
              for line in inside.read("/run/watched").splitlines()]
    mouse = [event["event"] for event in events
             if event.get("device") == "3:9"]
    s.ok(mouse == ["plugged", "attaching", "attached", "unplugged",
                   "detaching", "detached", "plugged", "attaching",
                   "attached"], "the mouse: %s" % " ".join(mouse))
    tree = ctl("show", "devices")[1]
    for line in tree.splitlines():
        print("#   " + line)
    s.ok("|__ 3:1   Dev" in tree and "|   |__ 3:1.2 Dev" in tree,
         "the keyboard is shown below its hub")
    s.ok(all(len(line) <= 80 for line in tree.splitlines()), "in 80 columns")
    rules = {(rule["rule"], rule["text"]): rule for rule in
             json.loads(ctl("show", "rules", "-j")[1])}
    found = next(rule for (_, text), rule in rules.items()
                 if text == 'pass port 3:9 to "win10"')
    s.ok(found["hits"] >= 1 and found["devices"] == 1,
         "the mouse's rule: %s" % found)
    metrics = ctl("show", "counters", "-o")[1]
    s.ok("usbmgrd_attached_total 1\n" in metrics and
         'usbmgrd_vm_devices{vm="win10"} 2\n' in metrics and
         metrics.endswith("# EOF\n"), "OpenMetrics")
    policy = ctl("generate")[1]
    with open("/run/generated.conf", "w") as file:
        file.write(policy)
    s.ok("#pass product 045e:0823 to \"NAME\" pledge \"mouse\"" in policy or
         "#pass product 045e:0823 to \"win10\" pledge \"mouse\"" in policy,
         "generate suggests a rule for the mouse")
    says(s, 0, "configuration OK", "check", "/run/generated.conf")
    with open("/run/generated.conf", "w") as file:
        file.write(re.sub(r"(?m)^#(pass|vm) ", r"\1 ", policy)
                   .replace("NAME", "win10"))
    says(s, 0, "configuration OK", "check", "/run/generated.conf")
    s.service.stop()
    offline = ctl("generate")[1]
    s.ok("# 3:9: 045e:0823 Microsoft Classic IntelliMouse" in offline and
         "3:1.2" in offline, "the same without usbmgrd")
