"""A handler of the original kind: one connection a message, JSON in, JSON out.

usage: classic.py SOCKET [reply TEXT | crash | hang]
"""
import json, os, socket, struct, sys


def read(conn, n):
    data = b""
    while len(data) < n:
        part = conn.recv(n - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def main():
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(sys.argv[1])
    server.listen(1)
    print("listening", flush=True)
    while True:
        conn, _ = server.accept()
        length, = struct.unpack("<I", read(conn, 4))
        data = json.loads(read(conn, length))
        if data == "die":
            os._exit(3)
        answer = json.dumps({
            "header": {"status": "0", "command": {"type": "sendClients", "data": ["anna"]}},
            "data": {"was": data},
        }).encode()
        # As programs of old do it: the length and the body in two writes.
        conn.sendall(struct.pack("<I", len(answer)))
        conn.sendall(answer)
        conn.close()


main()
