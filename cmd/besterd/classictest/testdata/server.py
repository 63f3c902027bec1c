#!/usr/bin/env python3
# What the original daemon does between servers.
#
# usage: server.py send HOST:PORT TYPE JSON     connect, send one message, close
#        server.py listen                       print what other servers send

import json
import socket
import struct
import sys


def recv_all(conn):
    chunks = []
    while True:
        chunk = conn.recv(4096)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)


def send(address, kind, data):
    host, port = address.split(":")
    conn = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    conn.connect((host, int(port)))
    message = {"header": {"scope": "server"}, "payload": {"data": data, "type": kind}}
    body = json.dumps(message, sort_keys=True, separators=(",", ":")).encode("ascii")
    conn.send(struct.pack("<I", len(body)) + body)
    answer = recv_all(conn)
    print("closed after %d bytes" % len(answer))
    conn.close()


def listen():
    server = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    server.bind(("127.0.0.1", 0))
    server.listen(1)
    print("listening on 127.0.0.1:%d" % server.getsockname()[1], flush=True)
    while True:
        conn, _ = server.accept()
        everything = recv_all(conn)
        length = struct.unpack("<I", everything[:4])[0]
        message = json.loads(everything[4:4 + length].decode())
        print(message["header"]["scope"], message["payload"]["type"],
              json.dumps(message["payload"]["data"]), flush=True)
        conn.close()


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(sys.argv[2], sys.argv[3], json.loads(sys.argv[4]))
    else:
        listen()
