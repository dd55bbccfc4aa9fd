/** The process that makes the load of `lull bench proxy`, and the application behind: both on one core, beside the measured server's. */
import { once } from 'node:events';
import { connect as tcpConnect } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as tlsConnect } from 'node:tls';
import { atMost } from '../lib/at-most.ts';
import { PATHS, startCannedUpstream } from './canned-upstream.ts';
import { LeanClient } from './lean-client.ts';
import type { LoadMessage, LoadOrder, LoadResult, LoadStart, Target } from './load.ts';
import { percentile } from './samples.ts';

const HOST = '127.0.0.1';
/** Handshakes at once, so that no listener's queue overflows. */
const OPENING_AT_ONCE = 32;
const SOCKET_LIMIT_MS = 30_000;

const { bulkBytes } = JSON.parse(process.argv[2]!) as LoadStart;
const upstream = await startCannedUpstream(bulkBytes);
const held: Duplex[] = [];

process.on('message', (order: LoadOrder) => void perform(order).then((result) => tell({ result }), (error: Error) => tell({ failure: error.message })));
process.on('disconnect', () => process.exit());
tell({ upstreamPort: upstream.port });

function tell(message: LoadMessage): void {
  process.send!(message);
}

async function perform(order: LoadOrder): Promise<LoadResult> {
  for (const stream of held.splice(0)) stream.destroy();
  switch (order.what) {
    case 'requests':
      return requests(order);
    case 'down':
      return bulk(order.target, requestOf(order.target, `GET ${PATHS.down}`), 0);
    case 'up':
      return bulk(order.target, requestOf(order.target, `POST ${PATHS.up}`, { 'Content-Length': `${bulkBytes}` }), bulkBytes);
    case 'sockets':
      return sockets(order);
  }
  order satisfies never;
}

function requestOf({ headers }: Target, start: string, more: Readonly<Record<string, string>> = {}): Buffer {
  const lines = Object.entries({ ...headers, ...more }).map(([name, value]) => `${name}: ${value}`);
  return Buffer.from([`${start} HTTP/1.1`, ...lines, '', ''].join('\r\n'));
}

async function open({ port, tls }: Target): Promise<Duplex> {
  if (tls === undefined) {
    const socket = tcpConnect({ host: HOST, port, noDelay: true });
    await once(socket, 'connect');
    return socket;
  }
  const socket = tlsConnect({ host: HOST, port, ALPNProtocols: ['http/1.1'], ...tls });
  await once(socket, 'secureConnect');
  return socket.setNoDelay(true);
}

/** As many at a time as there are connections, one after the other on each. */
async function requests({ target, connections, ms }: Extract<LoadOrder, { what: 'requests' }>): Promise<LoadResult> {
  const request = requestOf(target, `GET ${PATHS.small}`);
  const clients = await Promise.all(Array.from({ length: connections }, async () => new LeanClient(await open(target))));
  const took: number[] = [];
  const startMs = performance.now();
  const untilMs = startMs + ms;
  await Promise.all(clients.map((client) => keepAsking(client, { request, took, untilMs })));
  const endMs = performance.now();
  for (const client of clients) client.destroy();
  return { ms: endMs - startMs, amount: took.length, p50: percentile(took, 50), p99: percentile(took, 99) };
}

function keepAsking(client: LeanClient, { request, took, untilMs }: { request: Buffer; took: number[]; untilMs: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    let askedMs = 0;
    const ask = () => {
      askedMs = performance.now();
      client.ask(request, answered, reject);
    };
    const answered = () => {
      const nowMs = performance.now();
      took.push(nowMs - askedMs);
      if (nowMs < untilMs) ask();
      else resolve();
    };
    ask();
  });
}

async function bulk(target: Target, request: Buffer, bodyBytes: number): Promise<LoadResult> {
  const client = new LeanClient(await open(target));
  const startMs = performance.now();
  await client.send(request, bodyBytes);
  const ms = performance.now() - startMs;
  client.destroy();
  return { ms, amount: bulkBytes, p50: ms, p99: ms };
}

async function sockets({ target, count }: Extract<LoadOrder, { what: 'sockets' }>): Promise<LoadResult> {
  const request = requestOf(target, `GET ${PATHS.socket}`, {
    'Connection': 'Upgrade',
    'Upgrade': 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
  });
  const startMs = performance.now();
  await atMost(OPENING_AT_ONCE, Array.from({ length: count }, (_, at) => at), async () => {
    const stream = await open(target);
    held.push(stream);
    stream.on('error', () => undefined);
    stream.write(request);
    const [answer] = (await once(stream, 'data', { signal: AbortSignal.timeout(SOCKET_LIMIT_MS) })) as [Buffer];
    if (!answer.toString('latin1').startsWith('HTTP/1.1 101 ')) throw new Error(`no Upgrade: ${answer.toString('latin1', 0, 200)}`);
  });
  const ms = performance.now() - startMs;
  return { ms, amount: count, p50: ms / count, p99: ms / count };
}
