/** Requests of which an application of HTTP/2 says that it has not begun with them (RFC 9113, 8.7): the only ones that are sent twice. */
import assert from 'node:assert/strict';
import { constants } from 'node:http2';
import type { Socket } from 'node:net';
import { after, before, beforeEach, suite, test } from 'node:test';
import { FrameWire, frame, GOAWAY, HEADERS, headers, PREFACE, RST_STREAM, SETTINGS, uint32 } from '../../fakes/http2-frames.ts';
import { ProxyBed } from '../../fakes/proxy-bed.ts';
import { VERSIONS } from '../../fakes/proxy-client.ts';

/** What the application does to the first request of its first connection. */
type Refuse = (wire: FrameWire, stream: number) => void;

const reset = (code: number): Refuse => (wire, stream) => wire.write(frame(RST_STREAM, { stream, payload: uint32(code) }));
const goaway = (lastStream: number, code: number): Refuse => (wire) => {
  wire.write(frame(GOAWAY, { payload: Buffer.concat([uint32(lastStream), uint32(code)]) }));
  wire.destroy();
};
const { NGHTTP2_REFUSED_STREAM, NGHTTP2_INTERNAL_ERROR, NGHTTP2_NO_ERROR, NGHTTP2_ENHANCE_YOUR_CALM } = constants;

for (const version of VERSIONS) {
  suite(`a request from ${version} that an application of HTTP/2 does not begin with`, { timeout: 10_000 }, () => {
    let bed: ProxyBed;
    let refuse: Refuse[] = [];
    let asked = 0;
    before(async () => {
      bed = await ProxyBed.start();
      await bed.rawApp((socket) => void serve(socket));
    });
    beforeEach(() => {
      asked = 0;
    });
    after(() => bed[Symbol.asyncDispose]());

    const serve = async (socket: Socket) => {
      const wire = new FrameWire(socket, PREFACE.length);
      wire.write(frame(SETTINGS));
      const request = await wire.find(({ type }) => type === HEADERS);
      if (request === undefined) return;
      asked += 1;
      const next = refuse.shift();
      if (next !== undefined) return next(wire, request.stream);
      wire.write(headers(request.stream, [[':status', '204']]));
      await wire.find(({ type }) => type === GOAWAY);
      wire.destroy();
    };
    const ask = async (body?: string) => {
      const { status } = await bed.ask({ version, headers: { 'X-aws-proxy-force-h2': 'true' }, ...(body === undefined ? {} : { method: 'POST', body }) });
      bed.proxy.forget(bed.destinations.connects[0]!.microvmId);
      return status;
    };

    test('is sent once more, on a new connection', async () => {
      for (const first of [reset(NGHTTP2_REFUSED_STREAM), goaway(0, NGHTTP2_NO_ERROR), goaway(0, NGHTTP2_ENHANCE_YOUR_CALM)]) {
        asked = 0;
        refuse = [first];
        assert.equal(await ask(), 204);
        assert.equal(asked, 2);
      }
    });

    test('gets 502 where it is refused again', async () => {
      refuse = [reset(NGHTTP2_REFUSED_STREAM), reset(NGHTTP2_REFUSED_STREAM)];
      assert.equal(await ask(), 502);
      assert.equal(asked, 2);
    });

    test('gets 502 where its body has begun to leave', async () => {
      refuse = [reset(NGHTTP2_REFUSED_STREAM)];
      assert.equal(await ask('body'), 502);
      assert.equal(asked, 1);
    });

    test('gets 502, and is not sent again, where the application may have begun', async () => {
      for (const only of [reset(NGHTTP2_INTERNAL_ERROR), goaway(1, NGHTTP2_NO_ERROR), goaway(1, NGHTTP2_ENHANCE_YOUR_CALM), (wire: FrameWire) => wire.destroy()]) {
        asked = 0;
        refuse = [only];
        assert.equal(await ask(), 502);
        assert.equal(asked, 1);
      }
    });
  });
}
