#!/usr/bin/env python3
# Ask a Bester daemon about itself, over its informer socket.
#
# usage: informer.py SOCKET
#
# A line on standard input is a command and perhaps its data: "listClients",
# "isClient gustav", "serverInfo", "quit".  The data of the answer is printed as
# JSON, or "error" and the status.

import json
import socket
import sys

sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
stream = sock.makefile("rwb")

for line in sys.stdin:
    words = line.split()
    command = {"type": words[0]}
    if len(words) > 1:
        command["data"] = words[1]
    request = json.dumps({"command": command}).encode()
    stream.write(len(request).to_bytes(4, "little") + request)
    stream.flush()
    length = int.from_bytes(stream.read(4), "little")
    answer = json.loads(stream.read(length))
    if answer["status"] == "0":
        print(json.dumps(answer["data"], sort_keys=True))
    else:
        print("error", answer["status"])
    sys.stdout.flush()
    if words[0] == "quit":
        print("end" if stream.read() == b"" else "more")
        break
