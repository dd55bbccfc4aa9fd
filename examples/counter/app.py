"""Counts requests in memory, writes a line to a file for each, and ticks in the background: three things that a suspended
microVM must keep."""
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 8080
LOG = "/app/requests.log"

lock = threading.Lock()
requests = 0
ticks = 0


def tick():
    global ticks
    while True:
        time.sleep(0.1)
        ticks += 1


class Counter(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        global requests
        with lock:
            requests += 1
            with open(LOG, "a+") as log:
                log.write(f"request {requests}\n")
                log.seek(0)
                lines = len(log.readlines())
            answer = {"requests": requests, "lines": lines, "ticks": ticks}
        body = json.dumps(answer).encode() + b"\n"
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    threading.Thread(target=tick, daemon=True).start()
    print(f"counting on port {PORT}", flush=True)
    ThreadingHTTPServer(("0.0.0.0", PORT), Counter).serve_forever()
