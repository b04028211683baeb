# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""Where a device belongs, worked out from the text of a policy and from what
usbmgrd.conf(5) says about it: nothing here is asked of the service.

Only what plan.py writes into policies is understood.
"""

import re

WORDS = {"hid": "03", "keyboard": "03:01:01", "mouse": "03:01:02",
         "storage": "08", "vendor": "ff"}
HUB_CLASS = "09"
TAKES_VALUES = ["port", "below", "product", "serial", "class", "to"]


def tokens(line):
    return re.findall(r'"[^"]*"|[{}]|[^\s{}"]+', line)


def values(words):
    """Takes one value, or a list in braces, off the front."""
    if words[0] != "{":
        return [words.pop(0).strip('"')]
    end = words.index("}")
    found = [word.strip('"') for word in words[1:end]]
    del words[:end + 1]
    return found


def is_of(interface, word):
    return (interface + ":").startswith(WORDS[word] + ":")


def promised(device, pledge):
    return not pledge or all(
        any(is_of(interface, word) for word in pledge)
        for interface in device["interfaces"])


def peer(port):
    """The other half of a connector of the bed's host controllers."""
    bus, chain = port.split(":")
    return "%d:%s" % ((int(bus) - 1 ^ 1) + 1, chain)


class Rule:
    def __init__(self, words):
        self.passes = words.pop(0) == "pass"
        self.quick = words[0] == "quick"
        self.conditions = {}
        self.pledge = []
        del words[:self.quick]
        while words:
            word = words.pop(0)
            if word in TAKES_VALUES:
                self.conditions[word] = values(words)
            elif word == "pledge":
                self.pledge = words.pop(0).strip('"').split()
            else:
                assert word == "all", word
        self.machines = self.conditions.pop("to", [])

    def matches(self, device, named):
        return all(getattr(self, "_" + condition)(device, wanted, named)
                   for condition, wanted in self.conditions.items())

    @staticmethod
    def _port(device, wanted, named):
        port = device["port"]
        return port in wanted or port not in named and peer(port) in wanted

    @staticmethod
    def _below(device, wanted, _):
        return any(device["port"].startswith(hub + ".") for hub in wanted)

    @staticmethod
    def _product(device, wanted, _):
        return any(all(part in ("*", device[key]) for key, part in
                       zip(("vendor", "product"), ids.split(":")))
                   for ids in wanted)

    @staticmethod
    def _serial(device, wanted, _):
        return device["serial"] in wanted

    @staticmethod
    def _class(device, wanted, _):
        return any(is_of(interface, word) for word in wanted
                   for interface in device["interfaces"])


class Policy:
    def __init__(self, text):
        self.rules = []
        self.pledges = {}       # of each machine
        for words in map(tokens, text.splitlines()):
            if words[0] in ("pass", "block"):
                self.rules.append(Rule(words))
            elif words[0] == "vm":
                pledge = words[words.index("pledge") + 1] \
                    if "pledge" in words else '""'
                self.pledges[words[1].strip('"')] = pledge.strip('"').split()
        self.named = {port for rule in self.rules
                      for port in rule.conditions.get("port", [])}

    def decides(self, device):
        last = None
        for rule in self.rules:
            if rule.matches(device, self.named):
                last = rule
                if rule.quick:
                    break
        return last

    def machines(self, device):
        """The machines of its rule, as a list; none if it stays here."""
        rule = self.decides(device)
        if HUB_CLASS in device["interfaces"] or not rule or not rule.passes \
                or not promised(device, rule.pledge):
            return []
        if all(promised(device, self.pledges[name])
               for name in rule.machines):
            return rule.machines
        return []

    def by_hand(self, device, machine, force):
        """The same where a person has named the machine."""
        rule = self.decides(device)
        if HUB_CLASS in device["interfaces"]:
            return []
        if force or promised(device, rule.pledge if rule else []) and \
                promised(device, self.pledges[machine]):
            return [machine]
        return []
