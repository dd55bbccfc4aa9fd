/**
 * The control plane's HTTP server: one origin for every AWS service that a microVM client touches. Requests are sorted to a
 * surface before routing, by credential scope and path, because every service owns the whole space of paths (design, "The
 * front door").
 */
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import { LogController, fastify } from 'fastify';
import type { FastifyBaseLogger, FastifyHttpOptions, FastifyInstance, FastifyRequest } from 'fastify';
import { ApiError, renderError, unparseable } from '../contract/exceptions.ts';
import { LAMBDA_PREFIXES, LAMBDA_SERVICE, S3_SERVICE } from '../contract/operations.ts';
import type { JsonServiceContract } from '../contract/service.ts';
import type { ControlPlane } from '../control/control-plane.ts';
import type { Realm } from '../domain/ids.ts';
import type { BlobStore } from '../domain/object-store.ts';
import type { Clock, Random, Store } from '../domain/ports.ts';
import type { Rates } from '../domain/quotas.ts';
import type { KeyedQueue } from '../lib/keyed-queue.ts';
import { TLS_TERMS } from '../lib/tls-terms.ts';
import { Authenticator, claimedService, splitUrl } from './authentication.ts';
import { addExtensions } from './extension-routes.ts';
import { iamService } from './iam-handlers.ts';
import { TARGET_HEADER, addJsonSurface } from './json-surface.ts';
import { addLambdaSurface, sendLambdaError } from './lambda-surface.ts';
import { logsService } from './logs-handlers.ts';
import { serviceQuotasService } from './quota-handlers.ts';
import { addQuerySurface, isForm } from './query-surface.ts';
import { RateLimits } from './rate-limits.ts';
import { addS3Surface } from './s3/surface.ts';
import type { BoundService, ServiceSurface } from './service-actions.ts';
import { stsService } from './sts-handlers.ts';

/** What a client may send, and how slowly. */
export interface ApiLimits {
  /** Request line and headers together. */
  readonly maxHeaderBytes: number;
  /** A body of the Lambda surface: the largest input is 50 variables of 4 KiB. */
  readonly maxJsonBytes: number;
  /** One S3 PUT. */
  readonly maxObjectBytes: number;
  readonly headersTimeoutMs: number;
  readonly jsonBodyTimeoutMs: number;
  /** Longest silence within an upload. */
  readonly uploadStallMs: number;
  /** One request from its first to its last byte, uploads included. */
  readonly requestTimeoutMs: number;
  readonly keepAliveMs: number;
  readonly maxConnections: number;
}

export const DEFAULT_API_LIMITS: ApiLimits = {
  maxHeaderBytes: 32 * 1024,
  maxJsonBytes: 1024 * 1024,
  maxObjectBytes: 5 * 1024 ** 3,
  headersTimeoutMs: 20_000,
  jsonBodyTimeoutMs: 30_000,
  uploadStallMs: 60_000,
  requestTimeoutMs: 4 * 3_600_000,
  keepAliveMs: 72_000,
  maxConnections: 1024,
};

/** `*.localhost` is the machine itself (RFC 6761, section 6.3). */
const OWN_API_HOSTS: readonly string[] = ['localhost', 's3.localhost'];

/** What the server is made of. Nothing is global. */
export interface ApiAdapters {
  readonly control: ControlPlane;
  readonly store: Pick<Store, 'accessKeys' | 'objects' | 'uploads'>;
  readonly blobs: BlobStore;
  /** One for all servers over one object store: completions of an upload follow each other, whichever server takes them. */
  readonly completions: KeyedQueue;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: Pick<Random, 'uuid'>;
  readonly realm: Realm;
  /** pino, or anything with its methods. */
  readonly log: FastifyBaseLogger;
  /** Host of a microVM's endpoint as `endpoint` shows it: `<endpointId>.<domain>`, with `:port` where it is not 443. */
  readonly endpointHost: (endpointId: string) => string;
  readonly limits?: Partial<ApiLimits>;
  /** Names under which the server is reached, for buckets in host names, besides {@link OWN_API_HOSTS}. */
  readonly apiHosts?: readonly string[];
  /** Calls per second by operation; unlimited where left out. */
  readonly rates?: Rates;
  /** Tells the token: who shows it reads the metrics from anywhere; only this machine does where left out. */
  readonly metricsToken?: (() => string) | undefined;
  /** PEM texts; plain HTTP where left out. */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer };
}

/** Prefixes inside the router; no client can name one, since every URL gets one. */
const LAMBDA_SCOPE = '/-lambda';
const S3_SCOPE = '/-s3';
const UNKNOWN_SCOPE = '/-unknown';
const scopeOf = (service: string) => `/-${service}`;

/** Services whose requests name their action, by protocol. */
const QUERY_SERVICES = [stsService, iamService];
const JSON_SERVICES: readonly BoundService<JsonServiceContract>[] = [logsService, serviceQuotasService];
const SERVICES: ReadonlySet<string> = new Set([LAMBDA_SERVICE, S3_SERVICE, ...[...QUERY_SERVICES, ...JSON_SERVICES].map(({ contract }) => contract.signingName)]);

/** Builds the server; it listens when told to (`app.listen`) and lets running answers end on `app.close`. */
export function createApi(adapters: ApiAdapters): FastifyInstance {
  const limits = { ...DEFAULT_API_LIMITS, ...adapters.limits };
  const app = createServer(adapters, limits);
  const authenticator = new Authenticator({ accessKeys: adapters.store.accessKeys, clock: adapters.clock, realm: adapters.realm });
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-amzn-requestid', request.id);
    // RFC 9112, 3.2: one Host, neither none nor several.
    if (request.raw.headersDistinct['host']?.length !== 1) return sendLambdaError(unparseable(), request, reply.header('connection', 'close'));
    return undefined;
  });
  app.addHook('onResponse', async (request, reply) => {
    const path = splitUrl(request.originalUrl).path;
    request.log.debug({ method: request.method, path, status: reply.statusCode, ms: Math.round(reply.elapsedTime), requestId: request.id }, 'answered');
  });
  app.register(
    async (scope) => {
      const bodyLimits = { maxBytes: limits.maxJsonBytes, timeoutMs: limits.jsonBodyTimeoutMs };
      addLambdaSurface(scope, { authenticator, context: adapters, rateLimits: new RateLimits(adapters.rates ?? new Map(), adapters.clock), bodyLimits });
      addExtensions(scope, adapters.control, adapters.metricsToken);
    },
    { prefix: LAMBDA_SCOPE },
  );
  app.register(
    async (scope) => {
      addS3Surface(scope, {
        authenticator,
        objects: adapters.store.objects,
        uploads: adapters.store.uploads,
        blobs: adapters.blobs,
        clock: adapters.clock,
        random: adapters.random,
        realm: adapters.realm,
        limits,
        completions: adapters.completions,
        apiHosts: [...OWN_API_HOSTS, ...(adapters.apiHosts ?? [])],
      });
    },
    { prefix: S3_SCOPE },
  );
  addServices(app, { authenticator, context: adapters, bodyLimits: { maxBytes: limits.maxJsonBytes, timeoutMs: limits.jsonBodyTimeoutMs } });
  // Nobody reads the body of a request for a service that is not here.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request, _payload, done) => done(null, undefined));
  app.setErrorHandler((error, request, reply) => sendLambdaError(error, request, reply));
  app.setNotFoundHandler((request, reply) => sendLambdaError(unknownService(request), request, reply.header('connection', 'close')));
  return app;
}

function addServices(app: FastifyInstance, surface: Omit<ServiceSurface<never>, 'service'>): void {
  for (const service of QUERY_SERVICES) {
    app.register(async (scope) => addQuerySurface(scope, { ...surface, service }), { prefix: scopeOf(service.contract.signingName) });
  }
  for (const service of JSON_SERVICES) {
    app.register(async (scope) => addJsonSurface(scope, { ...surface, service }), { prefix: scopeOf(service.contract.signingName) });
  }
}

function unknownService(request: FastifyRequest): ApiError {
  const service = claimedService(request.raw) ?? '';
  return new ApiError('UnknownOperationException', `Lull does not serve ${service}: its services are ${[...SERVICES].join(', ')}.`);
}

function createServer(adapters: ApiAdapters, limits: ApiLimits): FastifyInstance {
  // Node would refuse a request without Host by itself, with no request id.
  const node = { maxHeaderSize: limits.maxHeaderBytes, headersTimeout: limits.headersTimeoutMs, requireHostHeader: false };
  const options: FastifyHttpOptions<Server> = {
    loggerInstance: adapters.log,
    logController: new LogController({ disableRequestLogging: true }),
    requestIdHeader: false,
    genReqId: () => adapters.random.uuid(),
    bodyLimit: limits.maxObjectBytes,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveMs,
    forceCloseConnections: 'idle',
    // What has come before the end is answered, in AWS's words and not in the framework's.
    return503OnClosing: false,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: limits.maxHeaderBytes },
    rewriteUrl: surfaceUrl,
    clientErrorHandler: refuseConnection,
    frameworkErrors: (error, request, reply) => {
      reply.header('x-amzn-requestid', request.id);
      void sendLambdaError(error, request, reply);
    },
  };
  // The two kinds of server differ in type only where nothing here looks.
  const transport = adapters.tls === undefined ? { http: node } : ({ https: { ...node, ...TLS_TERMS, ...adapters.tls } } as object);
  const app: FastifyInstance = fastify({ ...options, ...transport });
  app.server.maxConnections = limits.maxConnections;
  // Node's own answer to an expectation that it does not know would have no request id; RFC 9110, 10.1.1, lets it be ignored.
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response));
  return app;
}

/** The URL that the router sees: the surface's scope, then the path. The S3 surface reads its path itself, as received. */
function surfaceUrl(request: IncomingMessage): string {
  const { path } = splitUrl(request.url ?? '/');
  const claimed = claimedService(request);
  if (claimed === S3_SERVICE) return S3_SCOPE;
  if (claimed === LAMBDA_SERVICE || LAMBDA_PREFIXES.some((prefix) => path.startsWith(prefix))) return `${LAMBDA_SCOPE}${path}`;
  const service = claimed ?? addressedService(request);
  return SERVICES.has(service) ? scopeOf(service) : UNKNOWN_SCOPE;
}

/** Whose words a request without a claim is refused in: that of its protocol, else the object store's, whose presigned URLs may lack one. */
function addressedService(request: IncomingMessage): string {
  const target = String(request.headers[TARGET_HEADER] ?? '').split('.')[0];
  const json = JSON_SERVICES.find(({ contract }) => contract.targetPrefix === target);
  if (json !== undefined) return json.contract.signingName;
  return isForm(request) ? stsService.contract.signingName : S3_SERVICE;
}

/** What is no HTTP at all, has too many headers, or takes too long for them. */
function refuseConnection(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const { status, headers, body } = renderError(connectionError(error.code));
  const lines = Object.entries({
    ...headers,
    'x-amzn-requestid': randomUUID(),
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
  }).map(([name, value]) => `${name}: ${value}`);
  socket.end(`HTTP/1.1 ${status} ${REASONS[status] ?? 'Bad Request'}\r\n${lines.join('\r\n')}\r\n\r\n${body}`);
}

const REASONS: Readonly<Record<number, string>> = { 408: 'Request Timeout', 431: 'Request Header Fields Too Large' };

function connectionError(code: string | undefined): ApiError {
  if (code === 'HPE_HEADER_OVERFLOW') return new ApiError('RequestHeaderSectionTooLargeException', 'Request header section too large');
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return new ApiError('RequestTimeoutException', 'The request did not arrive in time');
  return unparseable();
}
