"""A native handler written from the page on the wire alone, with the standard library alone.

usage: native.py SOCKET NAME TYPES ORDER
ORDER is how many messages it gathers before it answers them, the last one first.
"""
import socket, struct, sys


def pack(v):
    """MessagePack, as much of it as a handler needs."""
    if v is None:
        return b"\xc0"
    if v is True or v is False:
        return b"\xc3" if v else b"\xc2"
    if isinstance(v, int):
        if 0 <= v < 128:
            return bytes([v])
        return b"\xd3" + struct.pack(">q", v)
    if isinstance(v, float):
        return b"\xcb" + struct.pack(">d", v)
    if isinstance(v, str):
        b = v.encode()
        return b"\xdb" + struct.pack(">I", len(b)) + b
    if isinstance(v, list):
        return b"\xdc" + struct.pack(">H", len(v)) + b"".join(map(pack, v))
    if isinstance(v, dict):
        return b"\xde" + struct.pack(">H", len(v)) + b"".join(pack(k) + pack(x) for k, x in v.items())
    raise TypeError(v)


def unpack(b, i=0):
    """Returns the value at b[i:] and where it ends."""
    c = b[i]
    i += 1
    if c < 0x80:
        return c, i
    if c >= 0xe0:
        return c - 256, i
    if 0x80 <= c < 0x90 or c in (0xde, 0xdf):
        n, i = (c & 15, i) if c < 0x90 else number(b, i, ">H" if c == 0xde else ">I")
        m = {}
        for _ in range(n):
            k, i = unpack(b, i)
            m[k], i = unpack(b, i)
        return m, i
    if 0x90 <= c < 0xa0 or c in (0xdc, 0xdd):
        n, i = (c & 15, i) if c < 0xa0 else number(b, i, ">H" if c == 0xdc else ">I")
        l = []
        for _ in range(n):
            v, i = unpack(b, i)
            l.append(v)
        return l, i
    if 0xa0 <= c < 0xc0 or c in (0xd9, 0xda, 0xdb):
        n, i = (c & 31, i) if c < 0xc0 else number(b, i, {0xd9: ">B", 0xda: ">H", 0xdb: ">I"}[c])
        return b[i:i + n].decode(), i + n
    if c in (0xc0, 0xc2, 0xc3):
        return {0xc0: None, 0xc2: False, 0xc3: True}[c], i
    return number(b, i, {0xca: ">f", 0xcb: ">d", 0xcc: ">B", 0xcd: ">H", 0xce: ">I", 0xcf: ">Q",
                         0xd0: ">b", 0xd1: ">h", 0xd2: ">i", 0xd3: ">q"}[c])


def number(b, i, form):
    n = struct.calcsize(form)
    return struct.unpack(form, b[i:i + n])[0], i + n


HELLO, HANDLE, ANSWER, GOODBYE = 1, 5, 6, 8


def main():
    path, name, types, order = sys.argv[1], sys.argv[2], sys.argv[3].split(","), int(sys.argv[4])
    conn = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    conn.connect(path)
    stream = conn.makefile("rb")

    def send(tag, kind, body):
        payload = struct.pack("<Q", tag) + bytes([kind]) + pack(body)
        conn.sendall(struct.pack("<I", len(payload)) + payload)

    send(0, HELLO, {"v": 1, "r": "handler", "n": name, "t": types, "c": 16, "unknown": [1, 2]})
    gathered = []
    while True:
        head = stream.read(4)
        if len(head) < 4:
            return
        payload = stream.read(struct.unpack("<I", head)[0])
        tag, = struct.unpack("<Q", payload[:8])
        kind, (body, _) = payload[8], unpack(payload, 9)
        if kind == HELLO:
            print("hello", body["r"], flush=True)
        elif kind == GOODBYE:
            print("goodbye", flush=True)
        elif kind == HANDLE:
            gathered.append((tag, body))
            if len(gathered) < order:
                continue
            for tag, m in reversed(gathered):
                send(tag, ANSWER, {"a": [{"c": "sendClients", "r": [m["f"]], "d": {"type": m["t"], "got": m["d"]}}]})
            gathered = []


main()
