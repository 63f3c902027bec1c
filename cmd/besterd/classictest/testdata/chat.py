#!/usr/bin/env python3
"""chat.py - talk to a Bester daemon

usage: chat.py HOST:PORT|SOCKET USER PASSWORD

Every line on standard input is "TYPE ID JSON" and is sent as a message.
What the daemon sends is printed, one line for each frame.  At the end of the
input nothing more is sent, and the program ends when the daemon hangs up.
"""

import json
import socket
import struct
import sys
import threading


class BesterClient(object):

    def __init__(self, address):
        if ":" in address:
            host, port = address.rsplit(":", 1)
            self.sock = socket.create_connection((host.strip("[]"), int(port)))
        else:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.connect(address)

    def send(self, message):
        body = json.dumps(message).encode("utf-8")
        self.sock.sendall(struct.pack("<i", len(body)) + body)

    def receive(self):
        header = self._read(4)
        if header is None:
            return None
        (length,) = struct.unpack("<i", header)
        body = self._read(length)
        if body is None:
            return None
        return json.loads(body.decode("utf-8"))

    def _read(self, count):
        data = b""
        while len(data) < count:
            part = self.sock.recv(count - len(data))
            if not part:
                return None
            data += part
        return data

    def login(self, username, password):
        self.send({
            "header": {
                "scope": "client",
                "authentication": {"username": username, "password": password},
            },
            "payload": {"type": "login", "id": "1", "data": None},
        })


def show(message):
    header, payload = message["header"], message["payload"]
    kind = header.get("messageType")
    if kind == "statusReport":
        print("status", header["status"], payload["id"])
    elif kind == "receivedMessage":
        print("message", payload["type"], json.dumps(payload["data"]))
    else:
        print("reply", header["status"], payload["type"], payload["id"])
    sys.stdout.flush()


def receiver(client):
    while True:
        message = client.receive()
        if message is None:
            print("closed")
            sys.stdout.flush()
            return
        show(message)


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    client = BesterClient(sys.argv[1])
    client.login(sys.argv[2], sys.argv[3])
    thread = threading.Thread(target=receiver, args=(client,))
    thread.start()
    for line in sys.stdin:
        kind, identity, data = line.rstrip("\n").split(" ", 2)
        client.send({
            "header": {"scope": "client"},
            "payload": {"type": kind, "id": identity, "data": json.loads(data)},
        })
    try:
        client.sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the daemon was first
    thread.join()
    client.sock.close()


if __name__ == "__main__":
    main()
