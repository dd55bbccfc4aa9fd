"""A VMM without a machine: maps guest memory as a real one does, speaks the agent protocol, and its application counts.

The whole guest is in its memory file: a page of JSON (what the agent knows, the counter), pages that repeat the counter, and
the same number on its disk and in its device state. Three that do not agree are an older memory over a newer disk, or the other way.

Arguments: boot or restore, memory file, its size, control socket, `agent=` and the agent's socket, disk.
"""
import ctypes
import json
import mmap
import os
import selectors
import socket
import struct
import sys
import time

PAGE = 4096
STATE_AT = 16 * PAGE
BALLAST_AT, BALLAST_PAGES = 32 * PAGE, 8
PR_SET_PTRACER, ANYBODY = 0x59616D61, ctypes.c_ulong(-1)
HELLO, WELCOME, FAULT, CALL, RESULT, OPEN, OPENED, REFUSED, DATA, END = 1, 2, 3, 4, 5, 8, 9, 10, 11, 13
PREAMBLE, ANSWER = b"LULL-AGENT-HELLO", b"LULL-AGENT-READY"
PORT = 8080

# A server that comes later may read this memory, as it may a real VMM's (the shim `lull-host exec`).
ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANYBODY, 0, 0, 0)
mode, memory_path, size, control_path, agent_path, disk_path = sys.argv[1:]
agent_path = agent_path.split("=", 1)[1]
memory_file = os.open(memory_path, os.O_RDWR if mode == "boot" else os.O_RDONLY)
flags = mmap.MAP_SHARED if mode == "boot" else mmap.MAP_PRIVATE
memory = mmap.mmap(memory_file, int(size), flags=flags, prot=mmap.PROT_READ | mmap.PROT_WRITE)
disk = os.open(disk_path, os.O_RDWR)
selector = selectors.DefaultSelector()


def remembered():
    (length,) = struct.unpack_from("<I", memory, STATE_AT)
    return json.loads(memory[STATE_AT + 4 : STATE_AT + 4 + length])


def remember(state):
    text = json.dumps(state).encode()
    memory[STATE_AT : STATE_AT + 4 + len(text)] = struct.pack("<I", len(text)) + text


def disk_counter():
    return struct.unpack("<Q", os.pread(disk, 8, 0))[0]


def count(state):
    """One more, everywhere."""
    state["counter"] += 1
    for page in range(BALLAST_PAGES):
        at = BALLAST_AT + page * PAGE
        memory[at : at + PAGE] = struct.pack("<Q", state["counter"]) * (PAGE // 8)
    os.pwrite(disk, struct.pack("<Q", state["counter"]), 0)
    remember(state)


def ballast():
    found = {struct.unpack_from("<Q", memory, BALLAST_AT + at)[0] for at in range(0, BALLAST_PAGES * PAGE, 8)}
    return found.pop() if len(found) == 1 else -1


class Machine:
    """What is not guest memory."""

    def __init__(self):
        self.running = mode == "boot"
        self.device_counter = 0
        self.channel = None
        if mode == "boot":
            remember({"secret": "", "frozen": False, "started": False, "counter": 0, "wakes": 0, "broken": False})

    def order(self, order):
        op = order["op"]
        if op == "resume":
            self.running = True
            if self.channel:
                self.channel.watch()
        elif op == "pause":
            self.running = False
            if self.channel:
                self.channel.unwatch()
        elif op == "load":
            with open(order["path"]) as file:
                self.device_counter = json.load(file)["counter"]
        elif op == "save":
            with open(order["path"], "w") as file:
                json.dump({"counter": remembered()["counter"], "registers": os.urandom(8192).hex()}, file)
        elif op == "channel":
            if self.channel and not self.running:
                self.channel.notice_hang_up()
            return {"connected": self.channel is not None}
        return {}


class Channel:
    """The agent's end of its channel."""

    def __init__(self, connection):
        self.connection, self.bytes, self.greeted, self.requests = connection, b"", False, {}
        self.watched = False
        if machine.running:
            self.watch()

    def notice_hang_up(self):
        """A paused guest reads nothing, but its VMM sees the end of the connection."""
        try:
            if self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b"":
                self.close()
        except BlockingIOError:
            pass
        except ConnectionError:
            self.close()

    def watch(self):
        if not self.watched:
            selector.register(self.connection, selectors.EVENT_READ, self.readable)
        self.watched = True

    def unwatch(self):
        if self.watched:
            selector.unregister(self.connection)
        self.watched = False

    def readable(self):
        try:
            got = self.connection.recv(1 << 20)
        except ConnectionError:
            got = b""
        if not got:
            return self.close()
        self.bytes += got
        while self.step():
            pass

    def close(self):
        self.unwatch()
        self.connection.close()
        machine.channel = None
        selector.register(agent, selectors.EVENT_READ, lambda: channel(agent.accept()[0]))

    def step(self):
        if self.bytes.startswith(PREAMBLE):
            self.bytes, self.greeted, self.requests = self.bytes[16:], False, {}
        if len(self.bytes) < 12:
            return False
        kind, stream, length = struct.unpack_from("<III", self.bytes)
        if len(self.bytes) < 12 + length:
            return False
        payload, self.bytes = self.bytes[12 : 12 + length], self.bytes[12 + length :]
        if kind == HELLO:
            self.hello(json.loads(payload))
        elif kind == CALL:
            self.send(RESULT, stream, {"ok": self.call(json.loads(payload))})
        elif kind == OPEN:
            frozen = remembered()["frozen"]
            self.send(REFUSED if frozen else OPENED, stream, {"code": "ECONNREFUSED"} if frozen else None)
            self.requests[stream] = b""
        elif kind == DATA:
            self.requests[stream] += payload
            if b"\r\n\r\n" in self.requests[stream]:
                self.answer(stream, self.requests[stream].split(b" ")[1].decode())
        return True

    def hello(self, hello):
        state = remembered()
        if hello["secret"] != state["secret"]:
            self.write(ANSWER)
            return self.send(FAULT, 0, {"code": "secret", "message": "wrong", "nonce": hello["nonce"]})
        state["secret"] = hello.get("nextSecret") or state["secret"]
        if hello.get("thaw") and state["frozen"]:
            state["frozen"] = False
        remember(state)
        if (hello.get("restore") or {}).get("resetConnections") and state["started"]:
            # As real guests do, it writes to its disk as soon as it runs.
            agrees = state["counter"] == disk_counter() == machine.device_counter and (state["counter"] == 0 or ballast() == state["counter"])
            state["broken"] = state["broken"] or not agrees
            state["wakes"] += 1
            remember(state)
            os.pwrite(disk, struct.pack("<Q", state["wakes"]), 8)
        application = {"state": "running" if state["started"] else "none", "pid": 7 if state["started"] else None, "exitCode": None, "signal": None}
        self.write(ANSWER)
        now = str(time.time_ns())
        self.send(WELCOME, 0, {"protocol": 1, "nonce": hello["nonce"], "agent": "fake", "realtimeNs": now, "bootId": "b", "application": application, "warnings": []})

    def call(self, call):
        state = remembered()
        op = call["op"]
        if op in ("freeze", "thaw"):
            remember({**state, "frozen": op == "freeze"})
        elif op == "start":
            remember({**state, "started": True})
            return {"pid": 7}
        elif op == "quiesce":
            os.fsync(disk)
            return {"trimmedBytes": 0}
        elif op == "clock":
            return {"realtimeNs": call["realtimeNs"]}
        elif op == "listening":
            return {"ports": [PORT]}
        elif op == "awaitListening":
            return {"port": PORT}
        elif op == "status":
            application = {"state": "running", "pid": 7, "exitCode": None, "signal": None}
            return {"application": application, "memTotalKib": 1, "memAvailableKib": 1, "bootId": "b"}
        return {}

    def answer(self, stream, path):
        state = remembered()
        if path == "/count":
            count(state)
        body = json.dumps({"memory": state["counter"], "ballast": ballast(), "disk": disk_counter(), "broken": state["broken"]})
        self.send(DATA, stream, f"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode())
        self.send(END, stream)

    def send(self, kind, stream, payload=None):
        body = b"" if payload is None else payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        self.write(struct.pack("<III", kind, stream, len(body)) + body)

    def write(self, data):
        try:
            self.connection.sendall(data)
        except OSError:
            # Its server was killed: the next read says so.
            pass


def listening(path, accepted):
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen()
    selector.register(server, selectors.EVENT_READ, lambda: accepted(server.accept()[0]))
    return server


def control(connection):
    pending = [b""]

    def readable():
        try:
            got = connection.recv(1 << 16)
        except ConnectionError:
            got = b""
        if not got:
            selector.unregister(connection)
            return connection.close()
        *lines, pending[0] = (pending[0] + got).split(b"\n")
        for line in lines:
            order = json.loads(line)
            try:
                reply = {"id": order["id"], "ok": machine.order(order)}
            except (OSError, ValueError, KeyError) as error:
                reply = {"id": order["id"], "error": str(error)}
            try:
                connection.sendall(json.dumps(reply).encode() + b"\n")
            except OSError:
                pass

    selector.register(connection, selectors.EVENT_READ, readable)


def channel(connection):
    # One at a time, as QEMU takes them: the next waits until this one has hung up.
    selector.unregister(agent)
    machine.channel = Channel(connection)


machine = Machine()
listening(control_path, control)
agent = listening(agent_path, channel)
print("ready", flush=True)
while True:
    for key, _ in selector.select():
        key.data()
