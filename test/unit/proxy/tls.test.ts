/** TLS with clients: names that are not ours, handshakes that do not end or begin again (RFC 8446, RFC 6066, RFC 5746). */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect as tcpConnect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { after, before, suite, test } from 'node:test';
import { connect as tlsConnect, type ConnectionOptions } from 'node:tls';
import { DOMAIN, HOST, OTHER_ENDPOINT, ProxyBed, readAll } from '../../fakes/proxy-bed.ts';
import { until } from '../../fakes/dripping.ts';

suite('TLS of the endpoints', { timeout: 60_000 }, () => {
  let bed: ProxyBed;
  let auth = '';
  before(async () => {
    bed = await ProxyBed.start({ handshakeMs: 300, headersMs: 300, keepAliveMs: 300 });
    await bed.app((request, response) => response.end(`served ${request.headers.host}`));
    auth = await bed.token();
  });
  after(() => bed[Symbol.asyncDispose]());

  const handshake = (options: ConnectionOptions) => bed.raw({ checkServerIdentity: () => undefined, ...options });
  const dial = (): Socket => tcpConnect({ host: '127.0.0.1', port: bed.port }).on('error', () => undefined);
  /** Resolves when the proxy has hung up, with or without a reset. */
  const gone = (socket: Socket) => new Promise((resolve) => socket.resume().once('close', resolve));
  const request = (host: string) => `GET / HTTP/1.1\r\nHost: ${host}\r\nX-aws-proxy-auth: ${auth}\r\nConnection: close\r\n\r\n`;

  // RFC 6066, 3, and RFC 8446, 9.2: the name of the handshake chooses a certificate, and there is one; RFC 9112, 3.2: the Host says whom the request is for.
  for (const [name, options] of Object.entries({
    'no name': { servername: '' },
    'the name of another microVM': { servername: `${OTHER_ENDPOINT}.${DOMAIN}` },
    'a name of another domain': { servername: 'www.example.com' },
    'a label that is no uuid': { servername: `..%00/../x.${DOMAIN}` },
    'a name of 255 bytes': { servername: 'x'.repeat(255) },
  })) {
    test(`${name} in the handshake: the request goes where its Host says, and nowhere else`, async () => {
      const good = await handshake(options);
      good.write(request(HOST));
      assert.match(await readAll(good), new RegExp(`^HTTP/1\\.1 200 OK\\r\\n[^]*served ${HOST}$`));
      const other = await handshake(options);
      other.write(request(`${OTHER_ENDPOINT}.${DOMAIN}`));
      assert.match(await readAll(other), /^HTTP\/1\.1 403 Forbidden\r\n[^]*Token authentication failed$/);
    });
  }

  /** The first flight of a client that asks for `servername`. */
  async function clientHello(servername: string): Promise<Buffer> {
    const written = Promise.withResolvers<Buffer>();
    const stream = new Duplex({ read: () => undefined, write: (bytes: Buffer, _encoding, done) => (written.resolve(bytes), done()) });
    const socket = tlsConnect({ socket: stream, servername }).on('error', () => undefined);
    const bytes = await written.promise;
    socket.destroy();
    return bytes;
  }

  for (const [name, garbled] of Object.entries({
    // RFC 6066, 3, and RFC 8446, 4.2: a host name is ASCII without an end of its own, and one of a kind.
    'NUL': () => Buffer.from('a\0b.microvm.localhost'),
    'bytes of no character set': () => Buffer.alloc(21, 0xff),
    'a second name instead of its end': () => Buffer.from('x.localhos\0\0\x08y.localh', 'latin1'),
  })) {
    test(`a name of ${name}: no harm`, async () => {
      const bytes = await clientHello('placeholder.of.name.x');
      const replacement = garbled();
      const at = bytes.indexOf('placeholder.of.name.x');
      assert.ok(at > 0 && replacement.length === 21);
      replacement.copy(bytes, at);
      const socket = dial();
      socket.write(bytes);
      // An alert, or a handshake that the client does not go on with.
      const [first] = (await once(socket, 'data')) as [Buffer];
      assert.ok(first[0] === 21 || first[0] === 22);
      socket.destroy();
      assert.equal((await bed.fetch()).status, 200);
    });
  }

  test('lengths within the handshake that lie: hung up on', async () => {
    const good = await clientHello(HOST);
    // Of the record (RFC 8446, 5.1), of the message (4), of the session id (4.1.2).
    for (const at of [3, 4, 6, 8, 43]) {
      const bytes = Buffer.from(good);
      bytes[at] = 0xff;
      const socket = dial();
      socket.write(bytes);
      await gone(socket);
    }
    assert.equal((await bed.fetch()).status, 200);
  });

  // RFC 8446, 5.1: a message may come in as many pieces as it has bytes.
  test('a handshake that comes byte by byte: hung up on after its time', async () => {
    const bytes = await clientHello(HOST);
    const socket = dial();
    const sent = until(gone(socket), (at) => void socket.write(bytes.subarray(at, at + 1)));
    assert.ok((await sent) < bytes.length);
  });

  for (const protocol of ['http/1.1', 'h2']) {
    // RFC 7301, 3.1.
    test(`a client that agrees on ${protocol} and says nothing: hung up on, and no line is left of it`, async () => {
      const socket = await handshake({ ALPNProtocols: [protocol] });
      await gone(socket);
      assert.ok(!bed.logged.some(({ method }) => method === ''));
    });
  }

  // RFC 7301, 3.2: no_application_protocol.
  test('protocols of which we speak none: no handshake', async () => {
    await assert.rejects(handshake({ ALPNProtocols: ['spdy/3'] }));
  });

  // RFC 8446, 4.1.2, and RFC 9325, 3.5.
  test('a second handshake on a connection (TLS 1.2) is refused', async () => {
    const socket = await handshake({ maxVersion: 'TLSv1.2' });
    const { promise, resolve } = Promise.withResolvers<Error | null>();
    socket.once('error', resolve);
    socket.renegotiate({}, resolve);
    // RFC 5246, 7.2.2.
    assert.match((await promise)?.message ?? '', /no renegotiation/i);
    socket.destroy();
  });
});
