"""WebSockets with the library `websockets`, as its users write it: prints what it saw as JSON."""
import json
import os
import ssl

from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

facts = json.loads(os.environ["FACTS"])
context = ssl.create_default_context(cafile=facts["ca"])
url = f"wss://{facts['host']}/seen"
marked = ["lambda-microvms", f"lambda-microvms.authentication.{facts['token']}"]
LIMIT_S = 60


def session(**options):
    """What the application was asked, which subprotocol was agreed on, echoes, and how it closed."""
    with connect(url, ssl=context, open_timeout=LIMIT_S, max_size=None, **options) as socket:
        request = json.loads(socket.recv(LIMIT_S))
        socket.send("text")
        text = socket.recv(LIMIT_S)
        socket.send(b"\x00\xff" * 500_000)
        binary = socket.recv(LIMIT_S)
        socket.send("leave")
        try:
            socket.recv(LIMIT_S)
        except ConnectionClosed as closed:
            return {
                "port": request["port"],
                "offered": request["headers"].get("sec-websocket-protocol"),
                "selected": socket.subprotocol,
                "text": text,
                "isBinaryWhole": binary == b"\x00\xff" * 500_000,
                "closed": [closed.rcvd.code, closed.rcvd.reason],
            }


def status(**options):
    try:
        with connect(url, ssl=context, open_timeout=LIMIT_S, **options):
            return None
    except InvalidStatus as refused:
        return refused.response.status_code


port = facts["ports"]["otherHttp"]
print(json.dumps({
    "byHeaders": session(additional_headers={"X-aws-proxy-auth": facts["token"], "X-aws-proxy-port": str(port)}),
    "bySubprotocols": session(subprotocols=[*marked, f"lambda-microvms.port.{port}"]),
    "withFurther": session(subprotocols=["chat", *marked]),
    "withoutToken": status(subprotocols=["lambda-microvms"]),
}))
