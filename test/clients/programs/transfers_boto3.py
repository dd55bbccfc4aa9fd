"""Moves a file through boto3's transfer manager, in parts, and through links, and compares what comes back. Arguments: addressing style, file."""
import hashlib
import io
import os
import socket
import sys

import boto3
import urllib3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

MIB = 1024 * 1024
style, path = sys.argv[1:]
endpoint = os.environ["AWS_ENDPOINT_URL"]

if style == "virtual":
    # What a name resolves to is the resolver's; here all are this machine.
    resolve = socket.getaddrinfo
    socket.getaddrinfo = lambda host, *rest, **more: resolve("127.0.0.1" if host.endswith(".localhost") else host, *rest, **more)
    endpoint = endpoint.replace("127.0.0.1", "localhost")

s3 = boto3.client("s3", endpoint_url=endpoint, config=Config(s3={"addressing_style": style}))
in_parts = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB)
bucket = "boto3-" + style
with open(path, "rb") as file:
    sent = file.read()


def received(key):
    body = io.BytesIO()
    s3.download_fileobj(bucket, key, body, Config=in_parts)
    return body.getvalue()


s3.create_bucket(Bucket=bucket)
s3.upload_file(path, bucket, "by file/ü+ %", Config=in_parts, ExtraArgs={"Metadata": {"who": "me"}, "ContentType": "a/b"})
s3.download_file(bucket, "by file/ü+ %", path + ".back", Config=in_parts)
with open(path + ".back", "rb") as file:
    assert file.read() == sent
head = s3.head_object(Bucket=bucket, Key="by file/ü+ %", ChecksumMode="ENABLED")
assert head["Metadata"] == {"who": "me"} and head["ContentType"] == "a/b", head
digests = [hashlib.md5(sent[at : at + 5 * MIB]).digest() for at in range(0, len(sent), 5 * MIB)]
assert head["ETag"] == '"%s-%d"' % (hashlib.md5(b"".join(digests)).hexdigest(), len(digests)), head

s3.copy({"Bucket": bucket, "Key": "by file/ü+ %"}, bucket, "copied", Config=in_parts)
assert received("copied") == sent
for algorithm in ["CRC32", "SHA1", "SHA256"]:
    s3.upload_fileobj(io.BytesIO(sent), bucket, algorithm, Config=in_parts, ExtraArgs={"ChecksumAlgorithm": algorithm})
    head = s3.head_object(Bucket=bucket, Key=algorithm, ChecksumMode="ENABLED")
    assert "Checksum" + algorithm in head, head
    assert received(algorithm) == sent

for version, mark in [(None, "AWSAccessKeyId="), ("s3v4", "X-Amz-Credential=")]:
    signer = boto3.client("s3", endpoint_url=endpoint, config=Config(signature_version=version, s3={"addressing_style": style}))

    def through_link(operation, method, params, **request):
        link = signer.generate_presigned_url(operation, Params={"Bucket": bucket, "Key": "linked ü+ %", **params})
        assert mark in link, link
        answer = urllib3.request(method, link, retries=False, **request)
        assert answer.status == 200, (link, answer.data)
        return answer

    through_link("put_object", "PUT", {}, body=sent)
    assert through_link("get_object", "GET", {}).data == sent
    described = {"Content-Type": "a/b", "x-amz-meta-who": "me"}
    through_link("put_object", "PUT", {"ContentType": "a/b", "Metadata": {"who": "me"}}, body=b"small", headers=described)
    head = through_link("head_object", "HEAD", {})
    assert {name: head.headers[name] for name in described} == described, head.headers
    overridden = through_link("get_object", "GET", {"ResponseContentDisposition": 'attachment; filename="a & b"', "ResponseContentType": "c/d"})
    assert (overridden.data, overridden.headers["Content-Type"]) == (b"small", "c/d"), overridden.headers
    assert overridden.headers["Content-Disposition"] == 'attachment; filename="a & b"', overridden.headers
    s3.delete_object(Bucket=bucket, Key="linked ü+ %")

keys = [item["Key"] for page in s3.get_paginator("list_objects").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2}) for item in page["Contents"]]
assert keys == ["CRC32", "SHA1", "SHA256", "by file/ü+ %", "copied"], keys
s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
s3.delete_bucket(Bucket=bucket)
print("done")
