/** gRPC through HTTP/2 from the client and to the application (section 5.4), with the library that Node's users take. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, suite, test } from 'node:test';
import * as grpc from '@grpc/grpc-js';
import { HOST, ProxyBed } from '../../fakes/proxy-bed.ts';

const bytes = { serialize: (value: Buffer) => value, deserialize: (value: Buffer) => value };
const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/Echo/${name}`,
  requestStream,
  responseStream,
  ...{ requestSerialize: bytes.serialize, requestDeserialize: bytes.deserialize, responseSerialize: bytes.serialize, responseDeserialize: bytes.deserialize },
});
const ECHO = { unary: method('Unary', false, false), count: method('Count', false, true), chat: method('Chat', true, true), sum: method('Sum', true, false) };

type Echo = grpc.Client & {
  unary(request: Buffer, metadata: grpc.Metadata, done: (error: grpc.ServiceError | null, answer?: Buffer) => void): grpc.ClientUnaryCall;
  count(request: Buffer, metadata: grpc.Metadata): grpc.ClientReadableStream<Buffer>;
  chat(metadata: grpc.Metadata): grpc.ClientDuplexStream<Buffer, Buffer>;
  sum(metadata: grpc.Metadata, done: (error: grpc.ServiceError | null, answer?: Buffer) => void): grpc.ClientWritableStream<Buffer>;
};

suite('gRPC', { timeout: 30_000 }, () => {
  let bed: ProxyBed;
  let client: Echo;
  let metadata: grpc.Metadata;
  const server = new grpc.Server();
  const cancelled = Promise.withResolvers<void>();
  before(async () => {
    bed = await ProxyBed.start();
    server.addService(ECHO, {
      unary: (call: grpc.ServerUnaryCall<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
        if (call.request.toString() === 'fail') return done({ code: grpc.status.FAILED_PRECONDITION, details: 'not like this: ü' });
        const trailer = new grpc.Metadata();
        trailer.set('x-trailer', 'last');
        done(null, call.request, trailer);
      },
      count: (call: grpc.ServerWritableStream<Buffer, Buffer>) => {
        if (call.request.toString() === 'forever') call.on('cancelled', () => cancelled.resolve());
        call.write(Buffer.from('1'));
        if (call.request.toString() === 'forever') return;
        call.write(Buffer.from('2'));
        call.end();
      },
      chat: (call: grpc.ServerDuplexStream<Buffer, Buffer>) => {
        call.on('data', (message: Buffer) => call.write(message));
        call.on('end', () => call.end());
      },
      sum: (call: grpc.ServerReadableStream<Buffer, Buffer>, done: grpc.sendUnaryData<Buffer>) => {
        let length = 0;
        call.on('data', (message: Buffer) => (length += message.length));
        call.on('end', () => done(null, Buffer.from(`${length}`)));
      },
    });
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, bound) => (error === null ? resolve(bound) : reject(error)));
    });
    bed.destinations.ports.set(8080, port);
    const options = { 'grpc.ssl_target_name_override': HOST, 'grpc.default_authority': HOST, 'grpc.enable_http_proxy': 0 };
    client = new (grpc.makeGenericClientConstructor(ECHO, 'Echo'))(`ipv4:127.0.0.1:${bed.port}`, grpc.credentials.createSsl(bed.ca), options) as unknown as Echo;
    metadata = new grpc.Metadata();
    metadata.set('x-aws-proxy-auth', await bed.token());
    metadata.set('x-aws-proxy-force-h2', 'true');
  });
  after(async () => {
    client.close();
    server.forceShutdown();
    await bed[Symbol.asyncDispose]();
  });

  test('a unary call, with trailers', async () => {
    const answered = Promise.withResolvers<Buffer>();
    const call = client.unary(Buffer.from('hello'), metadata, (error, answer) => (error === null ? answered.resolve(answer!) : answered.reject(error)));
    const [status] = (await once(call, 'status')) as [grpc.StatusObject];
    assert.equal((await answered.promise).toString(), 'hello');
    assert.equal(status.code, grpc.status.OK);
    assert.deepEqual(status.metadata.get('x-trailer'), ['last']);
  });

  test('an error has its code and details, ours has one of the status', async () => {
    const failed = (request: string, given: grpc.Metadata) =>
      new Promise<grpc.ServiceError | null>((resolve) => void client.unary(Buffer.from(request), given, (error) => resolve(error)));
    const error = await failed('fail', metadata);
    assert.deepEqual([error?.code, error?.details], [grpc.status.FAILED_PRECONDITION, 'not like this: ü']);
    // The library's reading of 403.
    assert.equal((await failed('hello', new grpc.Metadata()))?.code, grpc.status.PERMISSION_DENIED);
  });

  test('a server stream comes message by message, and ends with its status', async () => {
    const got: string[] = [];
    for await (const message of client.count(Buffer.from('to 2'), metadata)) got.push((message as Buffer).toString());
    assert.deepEqual(got, ['1', '2']);
  });

  test('a client stream of 8 MiB arrives whole', async () => {
    const answer = new Promise<string>((resolve, reject) => {
      const call = client.sum(metadata, (error, sum) => (error === null ? resolve(sum!.toString()) : reject(error)));
      for (let at = 0; at < 8; at++) call.write(Buffer.alloc(1024 * 1024));
      call.end();
    });
    assert.equal(await answer, `${8 * 1024 * 1024}`);
  });

  test('a bidirectional stream answers each message before the next is sent', async () => {
    const call = client.chat(metadata);
    for (const word of ['one', 'two', 'three']) {
      call.write(Buffer.from(word));
      assert.equal(((await once(call, 'data')) as [Buffer])[0].toString(), word);
    }
    call.end();
    const [status] = (await once(call.resume(), 'status')) as [grpc.StatusObject];
    assert.equal(status.code, grpc.status.OK);
  });

  test('a call that is cancelled is cancelled in the application', async () => {
    const call = client.count(Buffer.from('forever'), metadata);
    call.on('error', () => undefined);
    await once(call, 'data');
    call.cancel();
    await cancelled.promise;
  });
});
