#!/usr/bin/env python3
"""native.py - a Bester handler in the native dialect, with the standard library alone

usage: native.py SOCKET PATTERN...

Replies to each message with its data, all letters of it made capitals. The dialect is
in the package comment of hub/wire: go doc github.com/besterhub/bester/hub/wire
"""

import socket
import struct
import sys

HELLO, STATUS, HANDLE, ANSWER, PING, GOODBYE = 1, 4, 5, 6, 7, 8


def pack(v):
    """MessagePack of what JSON has."""
    if v is None:
        return b"\xc0"
    if v is True or v is False:
        return b"\xc3" if v else b"\xc2"
    if isinstance(v, int):
        if 0 <= v < 128:
            return bytes([v])
        return b"\xd3" + struct.pack(">q", v) if v < 1 << 63 else b"\xcf" + struct.pack(">Q", v)
    if isinstance(v, float):
        return b"\xcb" + struct.pack(">d", v)
    if isinstance(v, str):
        b = v.encode()
        return b"\xdb" + struct.pack(">I", len(b)) + b
    if isinstance(v, list):
        return b"\xdd" + struct.pack(">I", len(v)) + b"".join(map(pack, v))
    return b"\xdf" + struct.pack(">I", len(v)) + b"".join(pack(k) + pack(w) for k, w in v.items())


# first byte -> what it is, and how the number behind it is written
NUMBERS = {0xCA: ">f", 0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
           0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q"}
SIZES = {0xC4: ("bin", ">B"), 0xC5: ("bin", ">H"), 0xC6: ("bin", ">I"),
         0xD9: ("str", ">B"), 0xDA: ("str", ">H"), 0xDB: ("str", ">I"),
         0xDC: ("array", ">H"), 0xDD: ("array", ">I"), 0xDE: ("map", ">H"), 0xDF: ("map", ">I")}


class Unpacker:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        self.at += n
        return self.data[self.at - n:self.at]

    def number(self, form):
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def value(self):
        c = self.take(1)[0]
        if c < 0x80:
            return c
        if c >= 0xE0:
            return c - 256
        if c in NUMBERS:
            return self.number(NUMBERS[c])
        if c in (0xC0, 0xC2, 0xC3):
            return {0xC0: None, 0xC2: False, 0xC3: True}[c]
        if c in SIZES:
            kind, form = SIZES[c]
            size = self.number(form)
        elif c < 0x90:
            kind, size = "map", c & 0x0F
        elif c < 0xA0:
            kind, size = "array", c & 0x0F
        elif c < 0xC0:
            kind, size = "str", c & 0x1F
        else:
            raise ValueError("an extension: 0x%02x" % c)
        if kind == "map":
            return {self.value(): self.value() for _ in range(size)}
        if kind == "array":
            return [self.value() for _ in range(size)]
        return self.take(size).decode() if kind == "str" else self.take(size)


def frame(tag, kind, body):
    payload = struct.pack("<QB", tag, kind) + pack(body)
    return struct.pack("<I", len(payload)) + payload


def frames(stream):
    while len(head := stream.read(4)) == 4:
        payload = stream.read(struct.unpack("<I", head)[0])
        tag, kind = struct.unpack("<QB", payload[:9])
        yield tag, kind, payload[9:]


def upper(v):
    if isinstance(v, str):
        return v.upper()
    if isinstance(v, list):
        return [upper(w) for w in v]
    if isinstance(v, dict):
        return {upper(k): upper(w) for k, w in v.items()}
    return v


def main(path, *types):
    hub = socket.socket(socket.AF_UNIX)
    hub.connect(path)
    hub.sendall(frame(0, HELLO, {"v": 1, "r": "handler", "n": "upper", "t": list(types), "c": 16}))
    for tag, kind, body in frames(hub.makefile("rb")):
        if kind == HANDLE:
            message = Unpacker(body).value()
            hub.sendall(frame(tag, ANSWER, {"a": [{"c": "reply", "d": upper(message["d"])}]}))
        elif kind == PING and tag:
            hub.sendall(frame(tag, STATUS, {"s": 0}))
        elif kind == STATUS and tag == 0:
            sys.exit("not let in: %s" % Unpacker(body).value().get("e"))
        elif kind == GOODBYE:
            return


main(*sys.argv[1:])
