import { createServer, type Server } from 'node:https';
import { TLS_TERMS } from '../lib/tls-terms.ts';
import type { AddressInfo, Socket } from 'node:net';
import { ConnectionCount } from './connection-count.ts';
import { Front, type FrontOptions } from './front.ts';
import { isUpgrade, serveHttp1 } from './http1-front.ts';
import { serveHttp2 } from './http2-front.ts';
import { DEFAULT_LIMITS, type ProxyLimits } from './limits.ts';

/** PEM. */
export interface TlsPair {
  readonly cert: string | Buffer;
  readonly key: string | Buffer;
}

export interface ProxyOptions extends Omit<FrontOptions, 'limits'> {
  readonly tls: TlsPair;
  readonly limits?: Partial<ProxyLimits>;
}

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
  /** A host address that this machine does not have is then a warning (`::1`). */
  readonly optional?: boolean;
}

/** The data plane's server: HTTPS endpoints of microVMs (section 5). */
export interface Proxy extends AsyncDisposable {
  /**
   * Serves on a further address.
   * @returns the port (the chosen one for port 0); undefined where an optional address is not there
   * @throws the system's error where the port is taken or the address cannot be used
   */
  listen(address: ListenAddress): Promise<number | undefined>;
  /** Drops connections kept to a microVM; to be called before it sleeps or ends, so that no request goes to a stale one. */
  forget(microvmId: string): void;
  /** Shows another certificate from the next handshake on; open connections keep theirs. */
  setCertificate(tls: TlsPair): void;
  /** Open connections of clients. */
  connections(): number;
  /** Stops accepting, lets requests end for a moment, then cuts them off. */
  close(): Promise<void>;
}

/** Makes the data plane's server; it serves nothing before {@link Proxy.listen}. */
export function createProxy(options: ProxyOptions): Proxy {
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const front = new Front({ ...options, limits });
  const count = new ConnectionCount(limits);
  const listeners = new Set<Listener>();
  let { tls } = options;
  const close = async () => {
    front.close();
    await Promise.all([...listeners].map((listener) => closeListener(listener, limits.closeMs)));
    listeners.clear();
  };
  return {
    async listen(address) {
      const listener = createListener(tls, limits, { front, count });
      const { server } = listener;
      try {
        const port = await listening(server, address);
        server.on('error', (error) => options.log.error({ err: error }, 'a listener of the endpoints failed'));
        listeners.add(listener);
        return port;
      } catch (error) {
        server.closeAllConnections();
        const code = codeOf(error);
        if (address.optional !== true || (code !== 'EADDRNOTAVAIL' && code !== 'EAFNOSUPPORT')) throw error;
        options.log.warn({ host: address.host, code }, 'endpoints are not served on this address: the machine does not have it');
        return undefined;
      }
    },
    setCertificate: (renewed) => {
      tls = renewed;
      for (const { server } of listeners) server.setSecureContext(secured(renewed));
    },
    connections: () => [...listeners].reduce((sum, { sockets }) => sum + sockets.size, 0),
    forget: (microvmId) => front.forget(microvmId),
    close,
    [Symbol.asyncDispose]: close,
  };
}

/** Whatever is left out when a context is replaced falls back to Node's own. */
const secured = ({ cert, key }: TlsPair) => ({ cert, key, ...TLS_TERMS });

function createListener(tls: TlsPair, limits: ProxyLimits, { front, count }: { front: Front; count: ConnectionCount }): Listener {
  const server = createServer({
    ...secured(tls),
    ALPNProtocols: ['h2', 'http/1.1'],
    handshakeTimeout: limits.handshakeMs,
    maxHeaderSize: limits.headerBytes,
    headersTimeout: limits.headersMs,
    // Bodies may take as long as they like; silence is bounded below.
    requestTimeout: 0,
    connectionsCheckingInterval: Math.min(5000, limits.headersMs),
    keepAliveTimeout: limits.keepAliveMs,
    keepAlive: true,
    keepAliveInitialDelay: 60_000,
    noDelay: true,
    // An upgraded protocol may end one direction first.
    allowHalfOpen: true,
    shouldUpgradeCallback: isUpgrade,
    // Node's own refusal has no request id, and is in no log.
    requireHostHeader: false,
  });
  // Node silently drops what is above its own count; ours refuses.
  server.maxHeadersCount = 0;
  server.timeout = limits.silenceMs;
  serveHttp1(server, front, limits);
  const endHttp2 = serveHttp2(server, front, limits);
  // Port scanners and clients that do not know the CA: nothing to tell them, nothing for the log.
  server.on('tlsClientError', (_error, client) => client.destroy());
  return { server, sockets: trackSockets(server, count), endHttp2 };
}

function listening(server: Server, address: ListenAddress): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ host: address.host, port: address.port, ipv6Only: address.host.includes(':') }, () => {
      server.off('error', reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code;

/** A server and its TCP connections: Node's own list lacks those in a handshake and those that were upgraded. */
interface Listener {
  readonly server: Server;
  readonly sockets: ReadonlySet<Socket>;
  readonly endHttp2: () => void;
}

function trackSockets(server: Server, count: ConnectionCount): ReadonlySet<Socket> {
  const sockets = new Set<Socket>();
  const handshakes = server.listeners('connection');
  server.removeAllListeners('connection');
  server.on('connection', (socket: Socket) => {
    if (!count.admit(socket)) return void socket.destroy();
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    for (const listener of handshakes) Reflect.apply(listener, server, [socket]);
  });
  return sockets;
}

async function closeListener({ server, sockets, endHttp2 }: Listener, graceMs: number): Promise<void> {
  const timer = setTimeout(() => {
    for (const socket of sockets) socket.destroy();
  }, graceMs);
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
    endHttp2();
  });
  clearTimeout(timer);
}
