"""Holds memory, reads a large file, churns memory and sends bytes on demand: what a suspend must keep, what it must not, and what a
connection carries."""
import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 8080
MIB = 1024 * 1024
FILE = "/app/large-file"
DOWNLOAD_MIB = 32

with open("/app/settings.json") as file:
    settings = json.load(file)
# Not zeros: a hypervisor that saves all of memory leaves zeros out.
block = os.urandom(MIB)


def filled(mib):
    """Memory of which every page has been written."""
    memory = bytearray(mib * MIB)
    for at in range(0, len(memory), MIB):
        memory[at:at + MIB] = block
    return memory


def make_file():
    with open(FILE, "wb") as file:
        for _ in range(settings["churnMib"]):
            file.write(os.urandom(MIB))


def read_file():
    """Through the page cache, where all of it stays."""
    with open(FILE, "rb", buffering=0) as file:
        return sum(iter(lambda: len(file.read(MIB)), 0))


def allocate_and_free():
    return len(filled(settings["churnMib"]))


class Bench(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/download":
            return self.download()
        work = {"/": lambda: 0, "/read": read_file, "/allocate": allocate_and_free}.get(self.path)
        body = b"no such work\n" if work is None else json.dumps({"bytes": work()}).encode() + b"\n"
        self.send_response(404 if work is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def download(self):
        self.send_response(200)
        self.send_header("Content-Length", str(DOWNLOAD_MIB * MIB))
        self.end_headers()
        for _ in range(DOWNLOAD_MIB):
            self.wfile.write(block)


if __name__ == "__main__":
    if sys.argv[1:] == ["make-file"]:
        make_file()
    else:
        ballast = filled(settings["touchMib"])
        ThreadingHTTPServer(("0.0.0.0", PORT), Bench).serve_forever()
