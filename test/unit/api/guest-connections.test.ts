/** Connections of guests keep their place only as long as something comes of them. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { duplexPair, type Duplex } from 'node:stream';
import { describe, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { GuestConnections } from '../../../src/api/guest-connections.ts';
import { signHeaders } from '../../../src/lib/sigv4.ts';
import { ONE, startGuests, type GuestBed } from './guest-bed.ts';

const BODY = Buffer.alloc(1024 * 1024, 'x');

/** The head of a request for an object, signed with the keys of the microVM's role. */
async function headOf(bed: GuestBed, method: 'GET' | 'PUT', body = Buffer.alloc(0)): Promise<string> {
  const url = new URL('http://169.254.170.2/bucket/large');
  const context = { credentials: (await bed.credentials(ONE))!, region: 'us-east-1', service: 's3', nowMs: bed.time.nowMs };
  const signed = signHeaders({ method, url }, body, context);
  const headers = { ...signed, host: url.host, 'content-length': String(body.length) };
  return `${method} ${url.pathname} HTTP/1.1\r\n${Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`;
}

async function answerOn(connection: Duplex): Promise<string> {
  const [bytes] = (await once(connection, 'data')) as [Buffer];
  return bytes.toString();
}

describe('connections of guests', { timeout: 20_000 }, () => {
  test('one that asks nothing, or half a question, ends', async () => {
    await using bed = await startGuests({ headersTimeoutMs: 50 });
    for (const service of ['s3', 'metadata'] as const) {
      for (const said of ['', 'GET / HTTP/1.1\r\nhost: x\r\nx-more']) {
        const connection = bed.connect(ONE, service);
        connection.resume().write(said);
        await once(connection, 'close');
      }
    }
  });

  test('one that was answered is kept for the next question, and not for ever', async () => {
    await using bed = await startGuests({ headersTimeoutMs: 2000 });
    const connection = bed.connect(ONE, 's3');
    for (let times = 0; times < 2; times += 1) {
      connection.write(await headOf(bed, 'GET'));
      assert.match(await answerOn(connection), /^HTTP\/1.1 404 .*Keep-Alive: timeout=2\r\n/s);
    }
    await once(connection.resume(), 'close');
  });

  test('one whose guest does not end it after the last answer ends', async () => {
    await using bed = await startGuests({ headersTimeoutMs: 50 });
    const connection = bed.connect(ONE, 'metadata');
    connection.resume().write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    await once(connection, 'end');
    await once(connection, 'close');
  });

  test('one whose answer nobody takes ends, and so does one whose request never does', async () => {
    await using bed = await startGuests({ uploadStallMs: 50 });
    const upload = bed.connect(ONE, 's3');
    upload.write(Buffer.concat([Buffer.from(await headOf(bed, 'PUT', BODY)), BODY]));
    assert.match(await answerOn(upload), /^HTTP\/1.1 200 /);
    const connection = bed.connect(ONE, 's3');
    connection.write(await headOf(bed, 'GET'));
    await once(connection, 'close');
    await using other = await startGuests({ requestTimeoutMs: 50 });
    const slow = other.connect(ONE, 's3');
    slow.resume().write(await headOf(other, 'PUT', BODY));
    await once(slow, 'close');
  });

  test('closing waits for what is being answered, and for nothing else', async () => {
    await using bed = await startGuests();
    const idle = bed.connect(ONE, 's3').resume();
    const upload = bed.connect(ONE, 's3');
    upload.write(Buffer.concat([Buffer.from(await headOf(bed, 'PUT', BODY)), BODY.subarray(1)]));
    const order: string[] = [];
    const closing = bed.close().then(() => order.push('closed'));
    await once(idle, 'end');
    for (let turns = 0; turns < 10; turns += 1) await setImmediate();
    upload.write(BODY.subarray(0, 1));
    assert.match(await answerOn(upload), /^HTTP\/1.1 200 /);
    order.push('answered');
    await closing;
    assert.deepEqual(order, ['answered', 'closed']);
    assert.equal((await bed.store.objects.get('bucket', 'large'))?.size, BODY.length);
    const late = bed.connect(ONE, 's3').resume();
    await once(late, 'close');
  });

  test('one that is gone already is none of the server\'s', () => {
    const connections = new GuestConnections({ headersTimeoutMs: 10_000, requestTimeoutMs: 10_000, stallMs: 10_000, closeMs: 50 });
    const server = createServer().on('connection', () => assert.fail('it was handed on'));
    const [, far] = duplexPair();
    connections.connect(server, far.destroy());
  });

  test('closing does not wait for an answer that never comes', async () => {
    const connections = new GuestConnections({ headersTimeoutMs: 10_000, requestTimeoutMs: 10_000, stallMs: 10_000, closeMs: 50 });
    const server = createServer();
    connections.watch(server);
    const [near, far] = duplexPair();
    connections.connect(server, far);
    near.resume().write('GET / HTTP/1.1\r\nhost: x\r\n\r\n');
    await once(server, 'request');
    await connections.close();
    assert.ok(far.destroyed);
  });
});
