# Copyright (c) 2026 The usbmgrd authors
# SPDX-License-Identifier: ISC
"""The tests' own QMP connection, to look at a QEMU or to plug into one."""

import json
import socket


class Error(Exception):
    pass


class Connection:
    """Takes over a connected socket, or connects to a path."""

    def __init__(self, sock, seconds=20):
        if isinstance(sock, str):
            path = sock
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.connect(path)
        self.sock = sock
        self.sock.settimeout(seconds)
        self.lines = sock.makefile("r")
        self.events = []
        self._next()
        self.execute("qmp_capabilities")

    def close(self):
        self.lines.close()
        self.sock.close()

    def _next(self):
        line = self.lines.readline()
        if not line:
            raise Error("QEMU closed the connection")
        return json.loads(line)

    def execute(self, command, fd=None, **arguments):
        """The command's return value; fd goes along with the command."""
        data = json.dumps({"execute": command, "arguments": arguments})
        socket.send_fds(self.sock, [data.encode()],
                        [] if fd is None else [fd])
        while True:
            answer = self._next()
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise Error("%s: %s" % (command, answer["error"]["desc"]))
            self.events.append(answer)
