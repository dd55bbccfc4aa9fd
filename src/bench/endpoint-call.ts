/** Requests of the benchmark to a microVM: one GET to its end, over a connection that is fresh, or was there before. */
import { request as httpRequest, type RequestOptions } from 'node:http';
import type { Duplex } from 'node:stream';
import { connect, type TLSSocket } from 'node:tls';
import { text } from 'node:stream/consumers';

/** Where the endpoints listen and who vouches for them. */
export interface Endpoints {
  readonly port: number;
  /** PEM. */
  readonly ca: string;
  /** Parent of their names. */
  readonly domain: string;
}

const HOST = '127.0.0.1';
const OK = 200;
const ANSWER_LIMIT_MS = 300_000;

/** A TLS connection to the endpoints, its handshake done. It serves any microVM: the request's Host says which. */
export function openTls({ port, ca, domain }: Endpoints): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: HOST, port, ca, servername: `bench.${domain}`, ALPNProtocols: ['http/1.1'] }, () => {
      socket.off('error', reject);
      resolve(socket);
    });
    socket.once('error', reject);
  });
}

/** GET over a connection that this call uses up; resolves when the whole answer is there. @throws Error where it is not 200 */
export async function get(connection: Duplex, path: string, headers: Readonly<Record<string, string>>): Promise<string> {
  const options: RequestOptions = {
    method: 'GET',
    path,
    headers: { connection: 'close', ...headers },
    createConnection: () => connection,
    signal: AbortSignal.timeout(ANSWER_LIMIT_MS),
  };
  try {
    return await new Promise<string>((resolve, reject) => {
      const outgoing = httpRequest(options, (answer) => {
        text(answer).then((body) => {
          if (answer.statusCode === OK) resolve(body);
          else reject(new Error(`the microVM answered ${answer.statusCode}: ${body.slice(0, 200)}`));
        }, reject);
      });
      outgoing.on('error', reject);
      outgoing.end();
    });
  } finally {
    connection.destroy();
  }
}
