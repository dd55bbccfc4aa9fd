/** WebSockets (section 5.3), with Node's `ws` and Python's `websockets`. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { describe, it } from 'node:test';
import { WebSocket } from 'ws';
import { noPythonClients } from '../../clients/installed.ts';
import { PORTS, type DataPlane, type SeenRequest } from './endpoint.ts';
import { runPython } from './python.ts';

const BINARY = Buffer.alloc(1_000_000, Buffer.from([0, 255]));
/** A value that was seen to work on AWS. */
const LONG_PROTOCOL = 'x'.repeat(899);

const ours = (token: string) => ['lambda-microvms', `lambda-microvms.authentication.${token}`];
const portOf = (port: number) => `lambda-microvms.port.${port}`;

interface Opening {
  readonly protocols?: readonly string[];
  readonly headers?: Readonly<Record<string, string>>;
}

function open(plane: DataPlane, { protocols = [], headers = {} }: Opening): WebSocket {
  const lookup = (_name: string, _options: unknown, found: (error: null, addresses: { address: string; family: number }[]) => void) => found(null, [{ address: '127.0.0.1', family: 4 }]);
  return new WebSocket(`wss://${plane.one.host}/seen`, [...protocols], { ca: plane.server.ca, headers, lookup });
}

/** The status of an opening that is refused. */
async function refusal(plane: DataPlane, opening: Opening): Promise<number | undefined> {
  const socket = open(plane, opening);
  socket.on('error', () => undefined);
  const [, answer] = (await once(socket, 'unexpected-response')) as [unknown, IncomingMessage];
  socket.terminate();
  return answer.statusCode;
}

/** What the application was asked, which subprotocol was agreed on, echoes, and how it closed. */
async function session(plane: DataPlane, opening: Opening): Promise<object> {
  const socket = open(plane, opening);
  const next = async () => (await once(socket, 'message')) as [Buffer, boolean];
  const [first] = await next();
  const request = JSON.parse(first.toString()) as SeenRequest;
  socket.send('text');
  const [text] = await next();
  socket.send(BINARY);
  const [binary, isBinary] = await next();
  const closed = once(socket, 'close') as Promise<[number, Buffer]>;
  socket.send('leave');
  const [code, reason] = await closed;
  const offered = request.headers['sec-websocket-protocol'] ?? null;
  const facts = { port: request.port, offered, selected: socket.protocol === '' ? null : socket.protocol };
  return { ...facts, text: text.toString(), isBinaryWhole: isBinary && binary.equals(BINARY), closed: [code, reason.toString()] };
}

const ECHOED = { text: 'text', isBinaryWhole: true, closed: [4002, 'left'] };
const BY_HEADERS = { port: PORTS.otherHttp, offered: null, selected: null, ...ECHOED };
const BY_SUBPROTOCOLS = { port: PORTS.otherHttp, offered: null, selected: 'lambda-microvms', ...ECHOED };

/** @param plane is there once the tests run */
export function webSocketSuite(plane: () => DataPlane): void {
  describe('a WebSocket of Node’s `ws`', { timeout: 120_000 }, () => {
    it('opens by headers, and by subprotocols that the application does not see', async () => {
      const { token } = plane().one;
      assert.deepEqual(await session(plane(), { headers: { 'X-aws-proxy-auth': token, 'X-aws-proxy-port': `${PORTS.otherHttp}` } }), BY_HEADERS);
      assert.deepEqual(await session(plane(), { protocols: [...ours(token), portOf(PORTS.otherHttp)] }), BY_SUBPROTOCOLS);
    });

    it('takes further subprotocols, of which the application selects', async () => {
      const further = ['chat', LONG_PROTOCOL];
      const seen = await session(plane(), { protocols: [...ours(plane().one.token), ...further] });
      assert.deepEqual(seen, { port: PORTS.http, offered: further.join(', '), selected: 'chat', ...ECHOED });
    });

    it('goes by the port of a header before that of a subprotocol, and to 8080 without either', async () => {
      const protocols = [...ours(plane().one.token), portOf(PORTS.otherHttp)];
      const portsReached = await Promise.all([
        session(plane(), { protocols, headers: { 'X-aws-proxy-port': `${PORTS.first}` } }),
        session(plane(), { protocols: protocols.slice(0, 2) }),
      ]);
      assert.deepEqual(portsReached, [{ ...BY_SUBPROTOCOLS, port: PORTS.first }, { ...BY_SUBPROTOCOLS, port: PORTS.http }]);
    });

    it('does not open without marker or token, with a bad port, or one that the token does not cover', async () => {
      const { token } = plane().one;
      const narrow = await plane().tokenFor(PORTS.otherHttp);
      assert.equal(await refusal(plane(), { protocols: ['lambda-microvms'] }), 403);
      assert.equal(await refusal(plane(), { protocols: ours(token).slice(1) }), 400);
      assert.equal(await refusal(plane(), { protocols: [...ours(token), portOf(0)] }), 400);
      assert.equal(await refusal(plane(), { protocols: ours(narrow) }), 403);
      assert.equal(await refusal(plane(), { protocols: [...ours(token), portOf(PORTS.nobody)] }), 502);
    });
  });

  describe('a WebSocket of Python’s `websockets`', { skip: noPythonClients, timeout: 120_000 }, () => {
    it('opens by headers and by subprotocols, and not without a token', async () => {
      assert.deepEqual(await runPython('websocket_client.py', plane()), {
        byHeaders: BY_HEADERS,
        bySubprotocols: BY_SUBPROTOCOLS,
        withFurther: { port: PORTS.http, offered: 'chat', selected: 'chat', ...ECHOED },
        withoutToken: 403,
      });
    });
  });
}
