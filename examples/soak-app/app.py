"""Holds 16 MiB of memory and a file that change whole at every step, and says what it holds as checksums. With each step other
memory comes and goes, and a large file is read: what a suspend should not keep."""
import json
import os
import struct
import sys
import threading
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 8080
MIB = 1024 * 1024
PAGE = 4096
MEMORY_PAGES = 16 * MIB // PAGE
FILE_PAGES = MIB // PAGE
CHURN_MIB = 24
STATE_FILE = "/app/state"
LARGE_FILE = "/app/large-file"

memory = bytearray(MEMORY_PAGES * PAGE)
lock = threading.Lock()
held = {"key": 0, "step": 0}
ballast = None


def page_of(key, step, number):
    """Every page differs from every other of any microVM and step."""
    return struct.pack("<IIQ", key, step, number) * (PAGE // 16)


def take_step(query):
    """Changes everything that is held. The query: a key that tells this microVM from others, and the number of the step."""
    held["key"], held["step"] = map(int, query.split(","))
    for number in range(MEMORY_PAGES):
        memory[number * PAGE : (number + 1) * PAGE] = page_of(held["key"], held["step"], number)
    with open(STATE_FILE, "wb") as file:
        for number in range(FILE_PAGES):
            file.write(page_of(held["key"], held["step"], number))
    churn()
    return held


def churn():
    block = os.urandom(MIB)
    other = [bytearray(block) for _ in range(CHURN_MIB)]
    with open(LARGE_FILE, "rb", buffering=0) as file:
        while file.read(MIB):
            pass
    del other


def checksums(_):
    with open(STATE_FILE, "rb") as file:
        return {**held, "memory": zlib.crc32(memory), "file": zlib.crc32(file.read())}


def hold(query):
    """Takes so many MiB more, every page of them written, and keeps them."""
    global ballast
    block = os.urandom(MIB)
    ballast = [bytearray(block) for _ in range(int(query))]
    return {"mib": len(ballast)}


def make_file():
    with open(LARGE_FILE, "wb") as file:
        for _ in range(CHURN_MIB):
            file.write(os.urandom(MIB))


class Soak(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    paths = {"/": lambda _: held, "/step": take_step, "/checksums": checksums, "/hold": hold}

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path not in self.paths:
            return self.send_error(404)
        with lock:
            body = json.dumps(self.paths[path](query)).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


if __name__ == "__main__":
    if sys.argv[1:] == ["make-file"]:
        make_file()
    else:
        ThreadingHTTPServer(("0.0.0.0", PORT), Soak).serve_forever()
