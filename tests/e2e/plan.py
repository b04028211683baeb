# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""What chaos.py does, one action after the other: random, but the same for
the same seed, whatever comes of it.
"""

import random

import inside
from inside import HUB, KEYBOARD, MOUSE, SERIAL, STICK

MACHINES = ["win10", "linux", "bsd"]
CHILDREN = ["engine", "monitor", "qmpclient"]
PORTS = ["1:4", "3:9", "3:10", "3:1.2", "3:1.3", "4:12"]
HUB_PORT = "3:1"
STICK_PORTS = ["4:12"]      # the others are of USB 2
# Each is what it says of itself; and of those that QEMU emulates, too.
KINDS = {
    "mouse": MOUSE,
    "fast-mouse": dict(MOUSE, speed="480", product="0824"),
    "keyboard": KEYBOARD,
    "serial-a9": SERIAL,
    "serial-b7": dict(SERIAL, serial="B7"),
    "combination": dict(MOUSE, name="Mouse?", product="0901",
                        interfaces=["03:01:02", "03:01:01"]),
}
EMULATED = {
    "hub": dict(HUB, vendor="0409", product="55aa", interfaces=["09"]),
    "stick": dict(STICK, vendor="46f4", product="0001",
                  interfaces=["08:06:50"]),
}
PRODUCTS = ["045e:0823", "045e:*", "413c:2107", "0403:6001", "*:0901",
            "46f4:*"]
HEADER = """\
log directory "%s"
control socket "%s" group "usbmgrd"
events auto
""" % (inside.LOGS, inside.CONTROL_SOCKET)
BROKEN = ["blok all", 'pass port 3:9 to "nobody"', "pass port 3", 'vm "x',
          'include "/nowhere.conf"', 'block all pledge "everything"',
          'vm "win10" qmp "/run/a" vm', "pass all to { "]
LOOKS = [["show", "devices", "-j"], ["show", "vms"], ["show", "rules"],
         ["show", "processes"], ["show", "counters", "-o"]]
PAUSES = [0, 0, 0.05, 0.1, 0.3, 0.6, 1]
QUIET = range(4, 12)        # so many actions before all is looked at


def is_below_hub(port):
    return port.startswith(HUB_PORT + ".")


class Policies:
    """Random ones."""

    def __init__(self, rng):
        self.random = rng

    def some(self, choices, most=2):
        return self.random.sample(choices, self.random.randint(1, most))

    def maybe(self, probability, text):
        return text if self.random.random() < probability else ""

    @staticmethod
    def listed(words, form="%s"):
        words = [form % word for word in words]
        return words[0] if len(words) == 1 else "{ %s }" % " ".join(words)

    def pledge(self):
        words = self.some(["hid", "mouse", "keyboard", "vendor", "storage"], 3)
        return ' pledge "%s"' % " ".join(words)

    def machine(self, name):
        return 'vm "%s" qmp "%s/%s.qmp" bus "xhci.0"' % (
            name, inside.MACHINES, name) + \
            self.maybe(0.2, " timeout reply 5") + \
            self.maybe(0.2, self.pledge())

    def condition(self):
        return self.random.choice([
            lambda: "port " + self.listed(self.some(PORTS + ["3:12"], 3)),
            lambda: "product " + self.listed(self.some(PRODUCTS)),
            lambda: 'serial ' + self.listed(self.some(["A9", "B7"]), '"%s"'),
            lambda: "class " + self.random.choice(
                ["keyboard", "mouse", "vendor", "storage"]),
            lambda: "below " + HUB_PORT,
            lambda: "all"])()

    def rule(self, machines):
        conditions = self.condition()
        if self.random.random() < 0.15 and "port" not in conditions:
            conditions = self.maybe(1, "port %s " % self.listed(
                self.some(PORTS, 3))) + conditions.replace("all", "")
        if self.random.random() < 0.25:
            return "block %s%s" % (self.maybe(0.1, "quick "), conditions)
        return "pass %s%s to %s%s" % (
            self.maybe(0.15, "quick "), conditions,
            self.listed(self.some(machines, len(machines)), '"%s"'),
            self.maybe(0.1, self.pledge()))

    def policy(self, whole=False):
        """With all machines, or most of them."""
        machines = MACHINES
        if not whole and self.random.random() < 0.4:
            machines = self.some(MACHINES)
        lines = [self.machine(name) for name in machines] + ["block all"]
        if self.random.random() < 0.85:
            lines.append("pass all to " + self.listed(machines, '"%s"'))
        lines += [self.rule(machines)
                  for _ in range(self.random.randint(2, 6))]
        return HEADER + "".join(" ".join(line.split()) + "\n"
                                for line in lines)


class Plan:
    """Its model of the world is what it has asked for, no more."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.policies = Policies(self.random)
        self.plugged = {}       # port: kind
        self.running = []
        self.stopped = []       # of those, by SIGSTOP
        self.serving = True
        self.hanging = 0        # clients
        self.policy = self.policies.policy()

    def actions(self):
        """One after the other, without end."""
        yield ("policy_file", self.policy)
        for name in MACHINES:
            yield self._started(name)
        yield ("serve",)
        while True:
            for _ in range(self.random.choice(QUIET)):
                action = None
                while action is None:
                    action = self._any()
                yield action
                yield ("pause", self.random.choice(PAUSES))
            yield from self._calm()
            yield ("check",)

    def _any(self):
        verbs, weights = zip(*self.weights.items())
        return self.random.choices(verbs, weights)[0](self)

    def _calm(self):
        for name in list(self.stopped):
            yield self._continued(name)
        if not self.serving:
            self.serving = True
            yield ("serve",)
        if self.hanging:
            self.hanging = 0
            yield ("unhang",)

    # Devices

    def _kind(self, port):
        if port in STICK_PORTS:
            return "stick"
        kinds = sorted(KINDS)
        if is_below_hub(port):
            kinds.remove("fast-mouse")
        return self.random.choice(kinds)

    def _plug(self):
        free = [port for port in PORTS + [HUB_PORT]
                if port not in self.plugged and
                (HUB_PORT in self.plugged or not is_below_hub(port))]
        if not free:
            return None
        port = self.random.choice(free)
        kind = "hub" if port == HUB_PORT else self._kind(port)
        self.plugged[port] = kind
        return ("plug", port, kind)

    def _glimpse(self):
        """It is gone before all has been done about it: 0 is while what the
        machine has answered is not yet known.
        """
        planned = self._plug()
        if not planned or planned[1] == HUB_PORT:
            return planned
        del self.plugged[planned[1]]
        return ("glimpse", *planned[1:],
                self.random.choice([0, 0, 0, 0.6, 0.8, 1]))

    def _used(self):
        used = sorted(set(self.plugged) - {HUB_PORT})
        return self.random.choice(used) if used else None

    def _unplug(self):
        port = self._used()
        if not port:
            return None
        del self.plugged[port]
        return ("unplug", port)

    def _unplug_hub(self):
        if HUB_PORT not in self.plugged:
            return None
        ports = sorted(filter(is_below_hub, self.plugged)) + [HUB_PORT]
        for port in ports:
            del self.plugged[port]
        return ("unplug", *ports)

    def _replug(self):
        port = self._used()
        if not port:
            return None
        if self.random.random() < 0.5:
            self.plugged[port] = self._kind(port)
        return ("replug", port, self.plugged[port],
                *self.random.choices([0, 0.2, 0.4, 0.6, 0.8, 1],
                                     k=self.random.choice([1, 1, 3, 5])))

    def _become(self):
        port = self._used()
        if not port or self.plugged[port] not in KINDS:
            return None
        kinds = [kind for kind in sorted(KINDS) if kind != "fast-mouse"
                 and KINDS[kind]["product"] !=
                 KINDS[self.plugged[port]]["product"]]
        before, self.plugged[port] = (self.plugged[port],
                                      self.random.choice(kinds))
        if before == "fast-mouse":      # a device has one speed
            self.plugged[port] = before
            return None
        return ("become", port, before, self.plugged[port])

    # Machines

    def _started(self, name):
        self.running.append(name)
        return ("start", name)

    def _continued(self, name):
        self.stopped.remove(name)
        return ("continue", name)

    def _start(self):
        off = [name for name in MACHINES if name not in self.running]
        return self._started(self.random.choice(off)) if off else None

    def _kill(self):
        if not self.running:
            return None
        name = self.random.choice(self.running)
        self.running.remove(name)
        if name in self.stopped:
            self.stopped.remove(name)
            return ("kill", name, "KILL")
        return ("kill", name, self.random.choice(["KILL", "KILL", "TERM"]))

    def _awake(self):
        return [name for name in self.running if name not in self.stopped]

    def _stop(self):
        if not self._awake():
            return None
        name = self.random.choice(self._awake())
        self.stopped.append(name)
        return ("stop", name)

    def _continue(self):
        if not self.stopped:
            return None
        return self._continued(self.random.choice(self.stopped))

    def _steal(self):
        if not self._awake():
            return None
        return ("steal", self.random.choice(self._awake()),
                self.random.randrange(4))

    # The service

    def _reload(self):
        # Nobody could take its devices out of a machine that leaves.
        self.policy = self.policies.policy(
            whole=self.stopped or not self.serving)
        if not self.serving:
            return ("policy_file", self.policy)
        return (self.random.choice(["reload", "reload", "hangup"]),
                self.policy)

    def _broken(self):
        lines = self.policies.policy().splitlines()
        lines.insert(self.random.randint(3, len(lines)),
                     self.random.choice(BROKEN))
        return ("broken", "".join(line + "\n" for line in lines)) \
            if self.serving else None

    def _rotate(self):
        return ("rotate",)

    def _death(self):
        if not self.serving:
            return None
        return ("death", *self.random.sample(
            CHILDREN, self.random.choice([1, 1, 1, 2, 3])))

    def _freeze(self):
        """A child misses what happens, and does not live to see it."""
        if not self.serving:
            return None
        missed = [self.random.choice([Plan._plug, Plan._unplug, Plan._replug,
                                      Plan._kill, Plan._start])(self)
                  for _ in range(3)]
        return ("freeze", self.random.choice(CHILDREN),
                *filter(None, missed))

    def _end(self):
        if not self.serving:
            return None
        self.serving = False
        self.hanging = 0
        return ("end", self.random.choice(["SIGTERM", "SIGKILL", "spawner"]))

    def _serve(self):
        if self.serving:
            return None
        self.serving = True
        return ("serve",)

    # Those who ask

    def _look(self):
        words = self.random.choice(LOOKS + [["explain", self._used()]])
        return ("ask", *words) if self.serving and None not in words else None

    def _word(self):
        port = self._used()
        words = self.random.choice([
            ["attach", port, self.random.choice(MACHINES)],
            ["attach", "-f", port, self.random.choice(MACHINES)],
            ["detach", port], ["policy", port]])
        return words if self.serving and port else None

    def _ask(self):
        words = self._word()
        return words and ("ask", *words)

    def _tell(self):
        """Waits for the answer, which is not there while somebody hangs."""
        words = self._word()
        return words and (("tell" if not self.stopped else "ask"), *words)

    def _hang(self):
        if not self.serving or self.hanging >= 8:
            return None
        self.hanging += 1
        return ("hang", self.random.choice(["mute", "half", "watcher"]))

    weights = {
        _plug: 22, _unplug: 8, _unplug_hub: 1, _replug: 8, _glimpse: 6,
        _become: 3, _start: 9, _kill: 4, _stop: 4, _continue: 4, _steal: 2,
        _reload: 7, _broken: 2, _rotate: 3, _death: 6, _freeze: 3, _end: 2,
        _serve: 4, _look: 5, _ask: 4, _tell: 4, _hang: 2}


def text(action):
    """Of an action, in one line."""
    verb, *words = action
    if verb in ("policy_file", "reload", "hangup", "broken"):
        lines = words[0].splitlines()[HEADER.count("\n"):]
        words = ["/".join(line for line in lines)]
    return " ".join([verb, *(text(word) + ";" if isinstance(word, tuple)
                             else str(word) for word in words)])
