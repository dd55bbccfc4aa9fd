/** The addresses that a server listens on, and the URL under which it says that it is found. */
import { once } from 'node:events';
import type { AddressInfo, Server } from 'node:net';
import type { createApi } from '../api/server.ts';
import { LullError } from '../domain/errors.ts';
import type { Proxy } from '../proxy/server.ts';
import type { ListenAddress } from './option-values.ts';
import type { ServerOptions } from './options.ts';

/**
 * Serves the endpoints.
 * @returns their port
 * @throws LullError conflict where it is taken, validation where an address cannot be used
 */
export async function listenEndpoints(
  proxy: Pick<Proxy, 'listen'>,
  options: Pick<ServerOptions, 'endpointListen' | 'endpointListenIsDefault'>,
): Promise<number> {
  let port: number | undefined;
  for (const address of options.endpointListen) {
    // With port 0 the first listener chooses for all of them: there is one port in every endpoint.
    const wanted = { host: address.host, port: address.port === 0 && port !== undefined ? port : address.port };
    const optional = options.endpointListenIsDefault && address.host === '::1';
    const bound = await proxy.listen({ ...wanted, optional }).catch((cause: NodeJS.ErrnoException) => {
      throw cannotListen({ who: 'The endpoints', flag: '--endpoint-listen', ...wanted }, cause);
    });
    port = bound ?? port;
  }
  if (port === undefined) throw new LullError('validation', 'None of the addresses of --endpoint-listen could be used.');
  return port;
}

/**
 * Serves the API.
 * @returns its URL, as clients are told it
 * @throws LullError conflict where the port is taken, validation where the address cannot be used
 */
export async function listenApi(api: Pick<ReturnType<typeof createApi>, 'listen' | 'server'>, options: Pick<ServerOptions, 'listen' | 'apiHosts' | 'apiCertificate'>): Promise<string> {
  const { host, port } = options.listen;
  await api.listen({ host, port }).catch((cause: NodeJS.ErrnoException) => {
    throw cannotListen({ who: 'The API', flag: '--listen', host, port }, cause);
  });
  const { port: bound } = api.server.address() as AddressInfo;
  // A certificate vouches for names; the first that is given is the one to be called by.
  if (options.apiCertificate !== undefined) return `https://${options.apiHosts[0] ?? reachable(host)}:${bound}`;
  return `http://${reachable(host)}:${bound}`;
}

/** Serves the metrics. @throws LullError conflict where the port is taken, validation where the address cannot be used */
export async function listenMetrics(server: Server, { host, port }: ListenAddress): Promise<void> {
  await once(server.listen({ host, port }), 'listening').catch((cause: NodeJS.ErrnoException) => {
    throw cannotListen({ who: 'The metrics', flag: '--metrics-listen', host, port }, cause);
  });
}

/** What stands for every address of the machine is none to connect to. */
const LOOPBACK_OF: Readonly<Record<string, string>> = { '0.0.0.0': '127.0.0.1', '::': '::1' };

const reachable = (host: string) => bracketed(LOOPBACK_OF[host] ?? host);

const bracketed = (host: string) => (host.includes(':') ? `[${host}]` : host);

const WHY: Readonly<Record<string, string>> = {
  EADDRNOTAVAIL: 'this machine does not have the address',
  EACCES: 'the port is not for this user',
  ENOTFOUND: 'the name has no address',
};

function cannotListen({ who, flag, host, port }: ListenAddress & { who: string; flag: string }, cause: NodeJS.ErrnoException): LullError {
  const failed = `${who} cannot listen on ${bracketed(host)}:${port}:`;
  if (cause.code === 'EADDRINUSE') {
    return new LullError('conflict', `${failed} the port is in use (another Lull server?). Give another with ${flag}, or stop what holds it.`, { cause });
  }
  const why = WHY[cause.code ?? ''] ?? cause.message;
  return new LullError('validation', `${failed} ${why}. Give another with ${flag}.`, { cause });
}
