#!/usr/bin/env python3
"""handler.py - a message handler for Bester

usage: handler.py SOCKET MODE [ARGUMENT...]

  users NAME...     send what comes to these users
  everyone          send it to everybody the informer (bInformer) knows
  chain TYPE        send it to the handler of that type
  servers ADDR...   send it to these servers
  status STATUS     say that it failed
  number            the same, with a number for the status
  malformed         answer what is no JSON
  short             hang up in the middle of the answer
  silent            hang up without an answer
  hang              never answer
  text              a command that is a string
  extra             a good answer with bytes after it, for users ARGUMENT...
"""

import json
import os
import socket
import struct
import sys


def read_message(conn):
    # one recv for each: the daemon writes header and body at once
    length = struct.unpack("<I", conn.recv(4))[0]
    return json.loads(conn.recv(length))


def frame(body):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    return struct.pack("<I", len(body)) + body


def answer(data, command, arguments, status="0"):
    return {
        "header": {
            "status": status,
            "command": {"type": command, "data": arguments},
        },
        "data": data,
    }


def ask_informer(command):
    s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    s.connect("bInformer")
    s.sendall(frame({"command": {"type": command}}))
    reply = read_message(s)
    s.sendall(frame({"command": {"type": "quit"}}))
    read_message(s)
    s.close()
    return reply["data"]


def handle(conn, mode, arguments):
    data = read_message(conn)
    print("got %s" % json.dumps(data), flush=True)
    if mode == "users":
        conn.sendall(frame(answer(data, "sendClients", arguments)))
    elif mode == "everyone":
        conn.sendall(frame(answer(data, "sendClients", ask_informer("listClients"))))
    elif mode == "chain":
        conn.sendall(frame(answer(data, "sendHandler", arguments[0])))
    elif mode == "servers":
        conn.sendall(frame(answer(data, "sendServers", arguments)))
    elif mode == "status":
        conn.sendall(frame(answer(data, "sendClients", [], arguments[0])))
    elif mode == "number":
        conn.sendall(frame(answer(data, "sendClients", [], 0)))
    elif mode == "malformed":
        conn.sendall(frame(b'{"header":{"status":"0",}}'))
    elif mode == "short":
        conn.sendall(frame(answer(data, "sendClients", []))[:-1])
    elif mode == "silent":
        pass
    elif mode == "hang":
        conn.recv(1)
    elif mode == "text":
        conn.sendall(frame({"header": {"status": "0", "command": "sendClients"}, "data": data}))
    elif mode == "extra":
        good = frame(answer(data, "sendClients", arguments))
        conn.sendall(good + good + b"and more")
    conn.close()


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    path, mode, arguments = sys.argv[1], sys.argv[2], sys.argv[3:]
    if os.path.exists(path):
        os.remove(path)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    server.bind(path)
    server.listen(5)
    print("listening", flush=True)
    while True:
        conn, _ = server.accept()
        handle(conn, mode, arguments)


if __name__ == "__main__":
    main()
