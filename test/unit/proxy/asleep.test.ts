/** Requests whose microVM falls asleep under them (section 3.5): nothing is sent twice, and nothing wakes it again. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer as createHttpsServer, request as httpsRequest } from 'node:https';
import type { Duplex } from 'node:stream';
import { afterEach, beforeEach, suite, test } from 'node:test';
import { MICROVM, ProxyBed } from '../../fakes/proxy-bed.ts';

suite('a microVM that falls asleep', { timeout: 30_000 }, () => {
  let bed: ProxyBed;
  let asked = 0;
  /** The streams to it, in the order of their opening. */
  let streams: Duplex[];
  /** Called at the next stream. */
  let onStream = (): unknown => undefined;
  beforeEach(async () => {
    bed = await ProxyBed.start();
    asked = 0;
    streams = [];
    const connect = bed.destinations.connect.bind(bed.destinations);
    bed.destinations.connect = async (...given) => {
      const stream = await connect(...given);
      streams.push(stream);
      onStream();
      onStream = () => undefined;
      return stream;
    };
  });
  afterEach(() => bed[Symbol.asyncDispose]());

  /** As the control plane does it: connections are forgotten first, then they end. */
  const fallAsleep = () => {
    bed.proxy.forget(MICROVM);
    for (const stream of streams) stream.destroy();
  };

  for (const isKnown of [false, true]) {
    test(`cuts a request off that may have left, 502, and is not asked again: of a port that is ${isKnown ? 'known' : 'new'}`, async () => {
      const arrived = Promise.withResolvers<void>();
      await bed.app((request, response) => {
        asked++;
        if (request.url === '/known') return response.end();
        arrived.resolve();
        return undefined;
      });
      if (isKnown) await bed.fetch({ path: '/known' });
      const before = asked;
      const answer = bed.fetch({ method: 'POST', body: 'once' });
      await arrived.promise;
      fallAsleep();
      assert.equal((await answer).status, 502);
      assert.equal(asked, before + 1);
      assert.equal(bed.destinations.connects.length, 1);
    });
  }

  test('gets the next request over a new connection, also where one was kept', async () => {
    await bed.app((_request, response) => response.end('here'));
    await bed.fetch();
    fallAsleep();
    assert.equal((await bed.fetch()).body, 'here');
    assert.equal(streams.length, 2);
  });

  test('in the middle of a TLS handshake gets the request after it: it had not left', async () => {
    const certificate = { cert: await readFile(bed.certificates.certPath), key: await readFile(bed.certificates.keyPath) };
    const app = createHttpsServer(certificate, (request, response) => {
      asked++;
      response.setHeader('Connection', 'close');
      request.pipe(response);
    });
    await bed.serverApp(app);
    await bed.fetch();
    bed.destinations.beforeConnect = () => {
      bed.destinations.beforeConnect = () => Promise.resolve();
      onStream = () => setImmediate(fallAsleep);
      return Promise.resolve();
    };
    assert.equal((await bed.fetch({ method: 'POST', body: 'whole' })).body, 'whole');
    assert.equal(asked, 2);
  });

  test('is not asked by a client that left', async () => {
    const arrived = Promise.withResolvers<void>();
    await bed.app(() => arrived.resolve());
    const request = httpsRequest(await bed.options());
    request.on('error', () => undefined);
    request.end();
    await arrived.promise;
    request.destroy();
    await bed.line();
    const [stream] = streams;
    if (!stream!.closed) await once(stream!, 'close');
    assert.equal(bed.destinations.connects.length, 1);
  });
});
