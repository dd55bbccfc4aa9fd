/** A server that `lull bench proxy` measures: the data plane as the real server makes it, before a port of this machine instead of a microVM. */
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { Agent, request as httpRequest, type IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import { connect, type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { pino } from 'pino';
import { AUTH_TOKEN_KEY } from '../contract/microvms.ts';
import type { Clock, Random, TokenKey } from '../domain/ports.ts';
import { ServerMetrics } from '../metrics/server-metrics.ts';
import type { Destinations } from '../proxy/destinations.ts';
import { createProxy } from '../proxy/server.ts';
import { createEndpointTokens } from '../proxy/tokens.ts';
import { DOMAIN, type MeasuredKind, type MeasuredMessage, type MeasuredStart } from './measured.ts';

const HOST = '127.0.0.1';
const MICROVM = 'microvm-00000000-0000-4000-8000-000000000001';
const ENDPOINT = '00000000-0000-4000-8000-000000000002';
const TOKEN_LIFE_MS = 60 * 60 * 1000;
const MICROVM_PORT = 8080;

const clock: Clock = {
  nowMs: Date.now,
  at: (atMs, callback) => {
    const timer = setTimeout(callback, atMs - Date.now()).unref();
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  },
};
const random: Random = { uuid: randomUUID, bytes: randomBytes };

type Ready = Exclude<MeasuredMessage, string>;

const START = JSON.parse(process.argv[2]!) as MeasuredStart;
const TLS = { cert: readFileSync(START.certPath), key: readFileSync(START.keyPath) };
const SERVERS: Readonly<Record<MeasuredKind, () => Promise<Ready>>> = { proxy: serveProxy, bare: serveBare };

process.on('disconnect', () => process.exit());
process.on('message', () => {
  // A full collection each: the first one lets go, the second takes what the first had kept alive.
  for (let round = 0; round < 2; round += 1) globalThis.gc!();
  tell('tidy');
});
tell(await SERVERS[START.kind]());

function tell(message: MeasuredMessage): void {
  process.send!(message);
}

async function serveProxy(): Promise<Ready> {
  const made: TokenKey[] = [];
  const keys = { list: async () => made, insert: async (key: TokenKey) => void made.unshift(key) };
  const tokens = createEndpointTokens({ keys, clock, random });
  const destinations: Destinations = {
    lookup: async (endpointId) => (endpointId === ENDPOINT ? { microvmId: MICROVM, ingress: ['ALL_INGRESS'], baselineMib: 512 } : undefined),
    connect: async () => {
      const socket = connect({ host: HOST, port: START.upstreamPort, noDelay: true, allowHalfOpen: true });
      await once(socket, 'connect');
      return socket;
    },
    openShell: () => Promise.reject(new Error('no shells are measured')),
    isAsleep: () => false,
    touched: () => undefined,
  };
  const log = pino({ level: 'info' }, process.stderr);
  // As in the server: figures are kept of everything; here nobody reads them.
  const unread = () => Promise.reject(new Error('nobody asks for figures'));
  const { exchanges: observer } = new ServerMetrics({
    ...{ about: { version: '', driver: '', accelerator: '' }, microvms: { countByState: unread, allocatedMib: unread }, memoryQuotaMib: 0 },
    ...{ disks: {}, stoppedByDisk: () => 0, availableMib: () => 0, certificates: () => ({}), connections: () => 0, maxSeries: 0, log },
  });
  const proxy = createProxy({ destinations, tokens, clock, random, domain: DOMAIN, tls: TLS, log, observer });
  const port = (await proxy.listen({ host: HOST, port: 0 }))!;
  const claims = { microvmId: MICROVM, purpose: 'http', ports: [{ from: MICROVM_PORT, to: MICROVM_PORT }], expiresAtMs: clock.nowMs() + TOKEN_LIFE_MS } as const;
  return { port, headers: { Host: `${ENDPOINT}.${DOMAIN}:${port}`, [AUTH_TOKEN_KEY]: await tokens.issue(claims) } };
}

/** Node's server, Node's client and a pipe, with nothing in between: what the data plane cannot cost less than. */
async function serveBare(): Promise<Ready> {
  const server = createServer({ ...TLS, allowHalfOpen: true });
  const agent = new Agent({ keepAlive: true });
  server.on('request', (request, response) => {
    const { method, url: path, rawHeaders } = request;
    const far = httpRequest({ host: HOST, port: START.upstreamPort, agent, method, path, headers: [...rawHeaders], setHost: false }, (answer) => {
      response.writeHead(answer.statusCode!, answer.rawHeaders);
      answer.pipe(response);
    });
    far.on('error', () => response.destroy());
    request.pipe(far);
  });
  server.on('upgrade', (request: IncomingMessage, client: Duplex) => {
    const far = connect({ host: HOST, port: START.upstreamPort, noDelay: true, allowHalfOpen: true });
    const lines = [`${request.method} ${request.url} HTTP/1.1`];
    for (let at = 0; at + 1 < request.rawHeaders.length; at += 2) lines.push(`${request.rawHeaders[at]}: ${request.rawHeaders[at + 1]}`);
    far.write(`${lines.join('\r\n')}\r\n\r\n`);
    far.on('error', () => client.destroy());
    client.on('error', () => far.destroy());
    client.pipe(far).pipe(client);
  });
  server.listen(0, HOST);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return { port, headers: { Host: `${ENDPOINT}.${DOMAIN}:${port}` } };
}
