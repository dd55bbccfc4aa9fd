"""gRPC with grpcio, as its users write it: prints what each kind of call gave as JSON."""
import json
import os

import grpc

facts = json.loads(os.environ["FACTS"])
metadata = [
    ("x-aws-proxy-auth", facts["token"]),
    ("x-aws-proxy-port", str(facts["ports"]["grpc"])),
    ("x-aws-proxy-force-h2", "true"),
]
LIMIT_S = 60
channel = grpc.secure_channel(facts["host"], grpc.ssl_channel_credentials(open(facts["ca"], "rb").read()))
unary = lambda name: channel.unary_unary(f"/Echo/{name}")
limits = {"metadata": metadata, "timeout": LIMIT_S}


def refusal(call):
    try:
        call()
    except grpc.RpcError as error:
        return [error.code().name, error.details()]
    return None


def cancelled():
    """The first message has come, so the call is there to be cancelled."""
    call = channel.unary_stream("/Echo/Hang")(b"", **limits)
    first = next(iter(call)).decode()
    call.cancel()
    while unary("Cancelled")(b"", **limits) != b"Hang":
        pass
    return [first, call.code().name]


def chat():
    """Each message is sent once the one before was answered."""
    answers = []

    def messages():
        yield b"0"
        while len(answers) < 3:
            turn.acquire()
            yield str(len(answers)).encode()

    import threading

    turn = threading.Semaphore(0)
    for answer in channel.stream_stream("/Echo/Chat")(messages(), **limits):
        answers.append(answer.decode())
        turn.release()
    return answers


answer, call = unary("Unary").with_call(b"hello", **limits)
big, _ = unary("Unary").with_call(b"x" * 1_000_000, **limits)
print(json.dumps({
    "unary": answer.decode(),
    "trailers": dict(call.trailing_metadata()),
    "big": len(big),
    "error": refusal(lambda: unary("Fail")(b"", **limits)),
    "unknown": refusal(lambda: channel.stream_unary("/Echo/Nothing")((b"x" * 65_536 for _ in range(64)), **limits)),
    "serverStream": [message.decode() for message in channel.unary_stream("/Echo/Count")(b"5", **limits)],
    "clientStream": channel.stream_unary("/Echo/Sum")((b"x" * 65_536 for _ in range(32)), **limits).decode(),
    "chat": chat(),
    "cancelled": cancelled(),
    "withoutToken": refusal(lambda: unary("Unary")(b"", timeout=LIMIT_S))[0],
}))
