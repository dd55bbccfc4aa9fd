/**
 * What guests reach of this server over their agents' streams: the metadata service, and an object store that takes the keys of
 * their own execution role alone. Each is a server of its own without the control plane's routes, and none of them listens.
 */
import type { IncomingMessage, Server } from 'node:http';
import type { Duplex } from 'node:stream';
import { LogController, fastify, type FastifyInstance } from 'fastify';
import type { GuestService } from '../domain/guest-service.ts';
import { Authenticator, type KeyLookup } from './authentication.ts';
import { GuestConnections } from './guest-connections.ts';
import { createMetadataServer, type MetadataAdapters } from './metadata-server.ts';
import { addS3Surface } from './s3/surface.ts';
import { DEFAULT_API_LIMITS, type ApiAdapters, type ApiLimits } from './server.ts';

export type GuestAdapters = Pick<ApiAdapters, 'store' | 'blobs' | 'completions' | 'realm' | 'limits'> &
  Omit<MetadataAdapters, 'ownerOf' | 'random'> & { readonly random: ApiAdapters['random'] & MetadataAdapters['random'] };

/** See the file's head. */
export interface GuestServer {
  /** Takes a connection that the application of a microVM made. Its bytes are hostile, who it is from is not. */
  connect(microvmId: string, service: GuestService, connection: Duplex): void;
  /** Ends every connection, each once what is being answered has been, within a limit. */
  close(): Promise<void>;
}

/** What the router sees of every URL. */
const SCOPE = '/-s3';
/** For answers that are under way when the server stops. */
const CLOSE_LIMIT_MS = 10_000;

export async function createGuestServer(adapters: GuestAdapters): Promise<GuestServer> {
  const owners = new WeakMap<Duplex, string>();
  const ownerOf = ({ socket }: IncomingMessage): string => {
    const microvmId = owners.get(socket);
    if (microvmId === undefined) throw new Error('a request over a connection of no microVM');
    return microvmId;
  };
  const limits = { ...DEFAULT_API_LIMITS, ...adapters.limits };
  const objects = createObjectServer(adapters, limits, ownerOf);
  await objects.ready();
  const servers: Readonly<Record<GuestService, Server>> = { metadata: createMetadataServer({ ...adapters, ownerOf }), s3: objects.server };
  const connections = new GuestConnections({ ...limits, stallMs: limits.uploadStallMs, closeMs: CLOSE_LIMIT_MS });
  for (const server of Object.values(servers)) connections.watch(server);
  return {
    connect(microvmId, service, connection) {
      owners.set(connection, microvmId);
      connections.connect(servers[service], connection);
    },
    async close() {
      await connections.close();
      await objects.close();
    },
  };
}

/** An S3 surface and nothing else, for the keys of whichever microVM is at the other end. */
function createObjectServer(adapters: GuestAdapters, limits: ApiLimits, ownerOf: MetadataAdapters['ownerOf']): FastifyInstance {
  const { store, blobs, completions, clock, realm, log, random } = adapters;
  const app = fastify({
    loggerInstance: log,
    logController: new LogController({ disableRequestLogging: true }),
    requestIdHeader: false,
    genReqId: () => random.uuid(),
    bodyLimit: limits.maxObjectBytes,
    // Clients are told how long a connection is kept for their next request.
    keepAliveTimeout: limits.headersTimeoutMs,
    exposeHeadRoutes: false,
    http: { maxHeaderSize: limits.maxHeaderBytes },
    // The surface reads the path itself, as received.
    rewriteUrl: () => SCOPE,
  });
  // Whatever is signed how: no key is known here but the temporary ones of the microVM that the request comes from.
  const accessKeys: KeyLookup = {
    async get(accessKeyId, request) {
      const key = await store.accessKeys.get(accessKeyId);
      return key?.session?.microvmId === ownerOf(request) ? key : undefined;
    },
  };
  const authenticator = new Authenticator({ accessKeys, clock, realm });
  const { objects, uploads } = store;
  // By its address alone: no name of a bucket stands before it.
  const surface = { authenticator, objects, uploads, blobs, clock, random, realm, limits, completions, apiHosts: [] };
  app.register(async (scope) => addS3Surface(scope, surface), { prefix: SCOPE });
  return app;
}
