# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""A USB device of any identity, for a port of the bed's host controllers.

The outer QEMU's usb-redir device asks a peer for everything that the device
says: this is that peer. The kernel in the bed sees a device like any other,
on a real port of a real xHCI driver. Protocol: usb-redirection-protocol.md
of usbredir 0.7 (https://gitlab.freedesktop.org/spice/usbredir). Descriptors:
Universal Serial Bus Specification 2.0, chapter 9; Device Class Definition
for HID 1.11.
"""

import struct
import threading

HELLO, CONNECT, RESET, INTERFACES, ENDPOINTS = 0, 1, 3, 4, 5
SET_CONFIG, GET_CONFIG, CONFIG_STATUS = 6, 7, 8
SET_ALT, GET_ALT, ALT_STATUS = 9, 10, 11
START_INT, STOP_INT, INT_STATUS = 15, 16, 17
CONTROL = 100
# Device version; and what xHCI needs: packet size, 64-bit ids, 32-bit length.
CAPABILITIES = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 6
OK, STALL = 0, 4

SPEEDS = {"1.5": 0, "12": 1, "480": 2}
UNUSED = 255
HID, HID_REPORT, STRING = 0x21, 0x22, 3

# Report descriptors of HID 1.11, appendix B: items (tag and data) in order.
REPORTS = {
    "03:01:01": bytes.fromhex(
        "0501 0906 a101 0507 19e0 29e7 1500 2501 7501 9508 8102 9501 7508"
        "8101 9505 7501 0508 1901 2905 9102 9501 7503 9101 9506 7508 1500"
        "2565 0507 1900 2965 8100 c0"),
    "03:01:02": bytes.fromhex(
        "0501 0902 a101 0901 a100 0509 1901 2903 1500 2501 9503 7501 8102"
        "9501 7505 8101 0501 0930 0931 1581 257f 7508 9502 8106 c0 c0"),
}


class Device:
    """One device. It lives until close(), which is its unplugging.

    vendor, product: numbers as in "045e"; interfaces: "class:sub:protocol"
    each; one with class 03 has an interrupt endpoint and is a boot mouse or
    keyboard by its protocol. speed: megabits a second, as in sysfs.
    """

    def __init__(self, sock, speed="12", **identity):
        self.sock = sock
        self.speed = speed
        self.configuration = 0
        self.become(**identity)
        threading.Thread(target=self._serve, daemon=True).start()

    def become(self, vendor, product, interfaces=("ff:00:00",),
               manufacturer="", name="", serial=""):
        """What it says of itself from now on."""
        self.ids = (int(vendor, 16), int(product, 16))
        self.interfaces = [bytes.fromhex(i.replace(":", ""))
                           for i in interfaces]
        self.reports = [REPORTS.get(i) for i in interfaces]
        self.strings = [manufacturer, name, serial]

    def close(self):
        self.sock.close()

    # Descriptors

    def _device(self):
        index = [n + 1 if text else 0 for n, text in enumerate(self.strings)]
        return struct.pack("<BBHBBBBHHHBBBB", 18, 1, 0x0200, 0, 0, 0, 64,
                           *self.ids, 0x0100, *index, 1)

    def _interface(self, number):
        cls, sub, proto = self.interfaces[number]
        report = self.reports[number]
        out = struct.pack("<BBBBBBBBB", 9, 4, number, 0,
                          1 if report else 0, cls, sub, proto, 0)
        if report:
            out += self._hid(number)
            out += struct.pack("<BBBBHB", 7, 5, 0x81 + number, 3, 8, 10)
        return out

    def _hid(self, number):
        return struct.pack("<BBHBBBH", 9, HID, 0x0111, 0, 1, HID_REPORT,
                           len(self.reports[number]))

    def _config(self):
        body = b"".join(map(self._interface, range(len(self.interfaces))))
        return struct.pack("<BBHBBBBB", 9, 2, 9 + len(body),
                           len(self.interfaces), 1, 0, 0x80, 50) + body

    def _string(self, index):
        if index == 0:
            body = struct.pack("<H", 0x0409)
        elif index <= len(self.strings):
            body = self.strings[index - 1].encode("utf-16-le")
        else:
            return None
        return struct.pack("<BB", 2 + len(body), STRING) + body

    def _descriptor(self, kind, index, interface):
        if kind == 1:
            return self._device()
        if kind == 2 and index == 0:
            return self._config()
        if kind == STRING:
            return self._string(index)
        if kind in (HID, HID_REPORT) and interface < len(self.reports) \
                and self.reports[interface]:
            return self.reports[interface] if kind == HID_REPORT \
                else self._hid(interface)
        return None

    # The channel

    def _send(self, kind, ident, body):
        self.sock.sendall(struct.pack("<IIQ", kind, len(body), ident) + body)

    def _receive(self, size):
        data = b""
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data

    def _hello(self):
        """Both sides' first packets, the only ones with an id of 32 bits."""
        body = struct.pack("<64sI", b"bed", CAPABILITIES)
        self.sock.sendall(struct.pack("<III", HELLO, len(body), 0) + body)
        _, size, _ = struct.unpack("<III", self._receive(12))
        self._receive(size)

    def _layout(self):
        count = len(self.interfaces)
        triples = list(zip(*self.interfaces))
        fill = lambda values: bytes(values).ljust(32, b"\0")
        self._send(INTERFACES, 0, struct.pack("<I", count)
                   + fill(range(count))
                   + b"".join(map(fill, triples)))
        kinds, intervals, owners = [UNUSED] * 32, [0] * 32, [0] * 32
        sizes = [0] * 32
        kinds[0] = kinds[16] = 0
        sizes[0] = sizes[16] = 64
        for number, report in enumerate(self.reports):
            if report:
                slot = 16 + 1 + number      # IN endpoints follow the OUT ones
                kinds[slot], intervals[slot] = 3, 10
                owners[slot], sizes[slot] = number, 8
        self._send(ENDPOINTS, 0, bytes(kinds + intervals + owners)
                   + struct.pack("<32H", *sizes))

    def _connect(self):
        self._layout()
        self._send(CONNECT, 0, struct.pack("<BBBBHHH", SPEEDS[self.speed],
                                           0, 0, 0, *self.ids, 0x0100))

    def _serve(self):
        try:
            self._hello()
            self._connect()
            while True:
                kind, size, ident = struct.unpack("<IIQ", self._receive(16))
                self._packet(kind, ident, self._receive(size))
        except (EOFError, OSError):
            pass        # unplugged

    def _packet(self, kind, ident, body):
        if kind in (SET_CONFIG, GET_CONFIG):
            if kind == SET_CONFIG:
                self.configuration = body[0]
            self._send(CONFIG_STATUS, ident, bytes([OK, self.configuration]))
        elif kind in (SET_ALT, GET_ALT):
            self._send(ALT_STATUS, ident, bytes([OK, body[0], 0]))
        elif kind in (START_INT, STOP_INT):
            self._send(INT_STATUS, ident, bytes([OK, body[0]]))
        elif kind == RESET:
            self._layout()      # it may have become another device
        elif kind == CONTROL:
            self._control(ident, *struct.unpack("<BBBBHHH", body[:10]))

    def _control(self, ident, endpoint, request, kind, _, value, index, size):
        reply = b""
        if kind & 0x80:
            reply = self._answer(request, kind, value, index)
            if reply is not None:
                size = len(reply[:size])
                reply = reply[:size]
        status = STALL if reply is None else OK
        self._send(CONTROL, ident,
                   struct.pack("<BBBBHHH", endpoint, request, kind, status,
                               value, index, size if reply is not None else 0)
                   + (reply or b""))

    def _answer(self, request, kind, value, index):
        if request == 6:                                # GET_DESCRIPTOR
            return self._descriptor(value >> 8, value & 0xff, index)
        if request == 0 and not kind & 0x60:            # GET_STATUS
            return b"\0\0"
        if request == 1 and kind & 0x60:                # HID GET_REPORT
            return bytes(8)
        return None
