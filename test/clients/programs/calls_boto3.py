"""boto3 as a program: a line of JSON in is a call, a line out its outcome (../client.ts). Nothing is set but what the environment sets."""
import datetime
import json
import sys

import boto3
from botocore import xform_name
from botocore.exceptions import ClientError

clients = {}


def answer(call):
    service = call["service"]
    if service not in clients:
        clients[service] = boto3.client(service)
    try:
        output = getattr(clients[service], xform_name(call["operation"]))(**with_files(call["input"]))
    except ClientError as error:
        response = error.response
        status = response["ResponseMetadata"]["HTTPStatusCode"]
        return {"error": {"type": response["Error"]["Code"], "status": status, "message": response["Error"].get("Message")}}
    output.pop("ResponseMetadata", None)
    return {"output": output}


def with_files(members):
    """Members that stand for a file become its bytes."""
    return {name: content(value["$file"]) if isinstance(value, dict) and "$file" in value else value for name, value in members.items()}


def content(path):
    with open(path, "rb") as file:
        return file.read()


def plain(value):
    """What JSON does not know: times and bodies."""
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    return value.read().decode()


for line in sys.stdin:
    print(json.dumps(answer(json.loads(line)), default=plain), flush=True)
