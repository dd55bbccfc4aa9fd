import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { signHeaders } from '../../../src/lib/sigv4.ts';
import { startApi } from './bed.ts';
import type { ApiBed } from './bed.ts';

const JSON_TYPE = { 'content-type': 'application/json' };
const MAX_JSON_BYTES = 64 * 1024;

describe('what no SDK would send', () => {
  let bed: ApiBed;
  before(async () => {
    bed = await startApi({ maxJsonBytes: MAX_JSON_BYTES, jsonBodyTimeoutMs: 300, uploadStallMs: 300, maxObjectBytes: 1024 * 1024 });
    await bed.call('PUT', '/bucket', { service: 's3' });
  });
  after(() => bed[Symbol.asyncDispose]());

  /** Whatever came before, the server answers the next one. */
  async function assertAlive(): Promise<void> {
    assert.equal((await fetch(`${bed.origin}/lull/v1/health`)).status, 200);
  }

  const RUN = '/2025-09-09/microvms';
  const bodies: [string, string | Uint8Array<ArrayBuffer>, Record<string, string>, number, string, unknown][] = [
    ['broken JSON', '{"a":', JSON_TYPE, 400, 'SerializationException', { message: null }],
    ['a JSON list', '[]', JSON_TYPE, 400, 'SerializationException', { message: null }],
    ['a JSON number', '5', JSON_TYPE, 400, 'SerializationException', { message: null }],
    ['JSON null', 'null', JSON_TYPE, 400, 'SerializationException', { message: null }],
    ['no UTF-8', new Uint8Array([0x22, 0xff, 0x22]), JSON_TYPE, 400, 'SerializationException', { message: null }],
    ['nesting without end', '['.repeat(60_000), JSON_TYPE, 400, 'SerializationException', { message: null }],
    ['something after the JSON', '{} {}', JSON_TYPE, 400, 'SerializationException', { message: null }],
    ['a byte that is no UTF-8 within a text', new Uint8Array(Buffer.from('7b2261223a22ff227d', 'hex')), JSON_TYPE, 400, 'SerializationException', { message: null }],
    ['an unknown member nested without end', `{"imageIdentifier":"app","x":${'['.repeat(30_000)}${']'.repeat(30_000)}}`, JSON_TYPE, 400, 'SerializationException', { message: null }],
    ['plain text', '{}', { 'content-type': 'text/plain' }, 415, 'UnsupportedMediaTypeException', { message: 'The content type must be application/json, not text/plain' }],
    ['a form', 'a=b', { 'content-type': 'application/x-www-form-urlencoded' }, 415, 'UnsupportedMediaTypeException', { message: 'The content type must be application/json, not application/x-www-form-urlencoded' }],
    ['too much', `"${'x'.repeat(MAX_JSON_BYTES)}"`, JSON_TYPE, 413, 'RequestEntityTooLargeException', { message: `Request must be smaller than ${MAX_JSON_BYTES} bytes` }],
    ['nothing', '', JSON_TYPE, 400, 'ValidationException', { message: "1 validation error detected: Value null at 'imageIdentifier' failed to satisfy constraint: Member must not be null" }],
    ['__proto__', '{"__proto__":{"imageIdentifier":"x"}}', JSON_TYPE, 400, 'ValidationException', { message: "1 validation error detected: Value null at 'imageIdentifier' failed to satisfy constraint: Member must not be null" }],
  ];
  for (const [title, body, headers, status, exception, expected] of bodies) {
    test(`body: ${title} is ${status} ${exception}`, async () => {
      const answer = await bed.call('POST', RUN, { body, headers });
      assert.deepEqual([answer.status, answer.headers.get('x-amzn-errortype'), JSON.parse(answer.text)], [status, exception, expected]);
      assert.ok(answer.headers.get('x-amzn-requestid'));
      await assertAlive();
    });
  }

  test('a value that is shown may be nested as deep as it is accepted', async () => {
    const deep = `${'{"a":'.repeat(990)}1${'}'.repeat(990)}`;
    const body = `{"name":"app","baseImageArn":"a","buildRoleArn":"arn:aws:iam::000000000000:role/b","codeArtifact":{"uri":"s3://b/k"},"resources":[${deep},${deep}]}`;
    const answer = await bed.call('POST', '/2025-09-09/microvm-images', { body, headers: JSON_TYPE });
    assert.deepEqual([answer.status, answer.headers.get('x-amzn-errortype')], [400, 'ValidationException'], answer.text.slice(0, 300));
  });

  test('of a member given twice the last counts', async () => {
    const answer = await bed.call('POST', RUN, { body: '{"imageIdentifier":"","imageIdentifier":"app"}', headers: JSON_TYPE });
    assert.equal(answer.status, 200);
    assert.equal((bed.control.calls.at(-1)!.args[0] as { imageIdentifier: string }).imageIdentifier, 'app');
  });

  const paths: [string, string, number, string][] = [
    ['GET', '/2025-09-09/nothing', 404, 'UnknownOperationException'],
    ['GET', '/2025-09-09/microvms/', 400, 'ValidationException'],
    ['GET', '/2025-09-09/microvms/a/b/c', 404, 'UnknownOperationException'],
    ['PATCH', '/2025-09-09/microvms', 405, 'MethodNotAllowedException'],
    ['DELETE', '/2025-09-09/microvms', 405, 'MethodNotAllowedException'],
    ['OPTIONS', '/2025-09-09/microvms', 405, 'MethodNotAllowedException'],
    ['GET', '/2025-09-09/microvms/%ff', 400, 'SerializationException'],
    ['GET', '/2025-09-09/microvms/%zz', 400, 'SerializationException'],
    ['GET', '/2025-09-09/microvms?maxResults=x', 400, 'SerializationException'],
    ['GET', '/2025-09-09/microvms?maxResults=0', 400, 'ValidationException'],
    ['GET', `/2025-09-09/microvms/${'x'.repeat(300)}`, 400, 'ValidationException'],
    ['GET', '/2026-04-04/nothing', 404, 'UnknownOperationException'],
    ['POST', '/2026-04-04/network-connectors/a', 405, 'MethodNotAllowedException'],
    ['PUT', '/2017-03-31/tags/a', 405, 'MethodNotAllowedException'],
    ['GET', '/2017-03-31/functions/a', 404, 'UnknownOperationException'],
    ['GET', '/2026-04-04/network-connectors?MaxItems=x', 400, 'SerializationException'],
    ['GET', '/2026-04-04/network-connectors?Marker=x', 400, 'InvalidParameterValueException'],
    ['GET', '/lull/v1/nothing', 404, 'UnknownOperationException'],
    ['GET', '/elsewhere', 404, 'UnknownOperationException'],
    ['POST', '/lull/v1/health', 405, 'MethodNotAllowedException'],
  ];
  for (const [method, path, status, exception] of paths) {
    test(`${method} ${path.slice(0, 60)} is ${status} ${exception}`, async () => {
      const answer = await bed.call(method, path);
      assert.deepEqual([answer.status, answer.headers.get('x-amzn-errortype')], [status, exception], answer.text);
      assert.ok(answer.headers.get('x-amzn-requestid'));
      assert.doesNotThrow(() => JSON.parse(answer.text));
    });
  }

  const wire: [string, string | Buffer, number][] = [
    ['no HTTP', 'hello\r\n\r\n', 400],
    ['TLS to a plain port', Buffer.from('16030100a5010000a1', 'hex'), 400],
    ['headers without end', `GET / HTTP/1.1\r\nhost: x\r\nx-a: ${'a'.repeat(40_000)}\r\n\r\n`, 431],
    ['two content-lengths', 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab', 400],
    ['content-length and chunks', 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n', 400],
    ['a negative length', 'POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n', 400],
    ['no host', 'GET / HTTP/1.1\r\n\r\n', 400],
    ['two hosts', 'GET / HTTP/1.1\r\nhost: x\r\nhost: y\r\n\r\n', 400],
    ['an unknown method', 'BREW / HTTP/1.1\r\nhost: x\r\n\r\n', 400],
    ['a method that nobody serves', 'PROPFIND / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n', 405],
    ['an absolute URL', 'GET http://x/y HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n', 400],
    ['OPTIONS *', 'OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n', 400],
    ['an expectation that nobody knows', 'GET /2025-09-09/microvms HTTP/1.1\r\nhost: x\r\nexpect: wonders\r\nconnection: close\r\n\r\n', 403],
    ['HTTP/2 by prior knowledge', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
    ['an upgrade', 'GET /2025-09-09/microvms HTTP/1.1\r\nhost: x\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\r\n', 403],
  ];
  for (const [title, bytes, status] of wire) {
    test(`bytes: ${title} is ${status}`, { timeout: 10_000 }, async () => {
      const answer = await bed.raw(bytes);
      assert.match(answer, new RegExp(`^HTTP/1.1 ${status} `), answer);
      assert.match(answer, /^x-amzn-requestid: \S+\r$/im);
      assert.match(answer, /^x-amzn-errortype: \w+\r$/im);
      assert.doesNotMatch(answer, /node_modules|\.ts:/);
      await assertAlive();
    });
  }

  test('CONNECT is not answered, and harms nobody', async () => {
    assert.equal(await bed.raw('CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n').catch(() => ''), '');
    await assertAlive();
  });

  test('a JSON body that stops half-way is 408, and the connection ends', { timeout: 10_000 }, async () => {
    const url = new URL(bed.origin + RUN);
    const headers = signHeaders({ method: 'POST', url, headers: { 'content-length': '10' } }, { hash: '0'.repeat(64) }, bed.context('lambda'));
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
    const answer = await bed.raw(`POST ${RUN} HTTP/1.1\r\n${lines.join('')}\r\n{"a"`);
    assert.match(answer, /^HTTP\/1.1 408 /);
    assert.match(answer, /RequestTimeoutException/i);
  });

  test('an upload that stops half-way is RequestTimeout, one that is cut off leaves nothing', { timeout: 10_000 }, async () => {
    const url = new URL(`${bed.origin}/bucket/half`);
    const headers = signHeaders({ method: 'PUT', url, headers: { 'content-length': '10' } }, { hash: 'UNSIGNED-PAYLOAD' }, bed.context('s3'));
    const head = `PUT /bucket/half HTTP/1.1\r\n${Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
    const stalled = await bed.raw(`${head}abc`);
    assert.match(stalled, /<Code>RequestTimeout<\/Code>/);
    await new Promise<void>((resolve) => {
      const socket = connect(bed.port, '127.0.0.1', () => socket.write(`${head}abc`, () => socket.destroy()));
      socket.on('close', () => resolve());
    });
    const answer = await bed.call('GET', '/bucket/half', { service: 's3' });
    assert.match(answer.text, /<Code>NoSuchKey<\/Code>/);
    await assertAlive();
    assert.deepEqual((await bed.blobFiles()).filter((name) => !name.endsWith('.partial')), []);
  });

  test('S3: too large, no length, a payload hash that lies, an unknown one', async () => {
    const put = (body: string, hash: string, more: Record<string, string> = {}) => {
      const url = new URL(`${bed.origin}/bucket/k`);
      const headers = signHeaders({ method: 'PUT', url, headers: more }, { hash }, bed.context('s3'));
      return fetch(url, { method: 'PUT', headers, body }).then(async (answer) => [answer.status, /<Code>(\w+)/.exec(await answer.text())?.[1]]);
    };
    assert.deepEqual(await put('x'.repeat(1024 * 1024 + 1), 'UNSIGNED-PAYLOAD'), [400, 'EntityTooLarge']);
    assert.deepEqual(await put('x', '0'.repeat(64)), [400, 'XAmzContentSHA256Mismatch']);
    assert.deepEqual(await put('x', 'nonsense'), [400, 'InvalidArgument']);
    assert.deepEqual(await put('x', 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'), [411, 'MissingContentLength']);
    assert.deepEqual(await put('x', 'UNSIGNED-PAYLOAD', { 'x-amz-checksum-crc32': 'zz' }), [400, 'InvalidRequest']);
    assert.deepEqual(await put('x', 'UNSIGNED-PAYLOAD', { 'content-md5': 'zz' }), [400, 'InvalidDigest']);
    assert.deepEqual((await bed.call('GET', '/bucket/%ff', { service: 's3' }).catch(() => ({ status: 0 }))).status, 0, 'our own signer refuses it');
    assert.match(await bed.raw('GET /bucket/%ff HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n'), /InvalidURI/);
  });

  test('unsigned S3 is AccessDenied in XML, with request ids', async () => {
    const answer = await fetch(`${bed.origin}/bucket/key`);
    assert.equal(answer.status, 403);
    assert.equal(answer.headers.get('content-type'), 'application/xml');
    assert.ok(answer.headers.get('x-amzn-requestid'));
    assert.equal(answer.headers.get('x-amz-request-id'), answer.headers.get('x-amzn-requestid'));
    assert.match(await answer.text(), /^<\?xml version="1.0" encoding="UTF-8"\?>\n<Error><Code>AccessDenied<\/Code>/);
  });
});
