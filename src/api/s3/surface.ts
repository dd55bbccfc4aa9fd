/**
 * The S3 surface over HTTP, path style: target and operation of a request, authentication, errors as XML. Paths are read
 * as received: a key such as `../x` is a key.
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { queryPairs } from '../../lib/sigv4.ts';
import { AuthFailure, receivedUrl, splitUrl } from '../authentication.ts';
import type { Authenticator, SignatureClaim } from '../authentication.ts';
import { createBucket, deleteBucket, getBucketLocation, headBucket, listBuckets } from './buckets.ts';
import type { ObjectStore, S3Answer, S3Call, S3Target } from './call.ts';
import { listObjects } from './listing.ts';
import { deleteObject, getObject, headObject, putObject } from './objects.ts';
import { S3Error, S3_ERRORS, renderS3Error, s3Error } from './s3-error.ts';
import { declaredPayloadHash, openUpload } from './upload.ts';

export interface S3Surface extends ObjectStore {
  readonly authenticator: Authenticator;
}

/** One operation. It is chosen by method, kind of target and, where there is one, the query parameter that selects it. */
interface S3Operation<K extends S3Target['kind']> {
  readonly name: string;
  readonly method: string;
  readonly kind: K;
  /** A parameter that must be there, e.g. `location`. */
  readonly selector?: string;
  /** Further parameters that it knows. Any other makes the request something that is not implemented. */
  readonly parameters: readonly string[];
  readonly run: (call: S3Call<K>) => Promise<S3Answer>;
}

const LIST_PARAMETERS = ['prefix', 'delimiter', 'max-keys', 'continuation-token', 'start-after', 'encoding-type', 'fetch-owner'];

type AnyOperation = { readonly [K in S3Target['kind']]: S3Operation<K> }[S3Target['kind']];

const OPERATIONS: readonly AnyOperation[] = [
  { name: 'ListBuckets', method: 'GET', kind: 'service', parameters: ['max-buckets'], run: listBuckets },
  { name: 'GetBucketLocation', method: 'GET', kind: 'bucket', selector: 'location', parameters: [], run: getBucketLocation },
  { name: 'ListObjectsV2', method: 'GET', kind: 'bucket', selector: 'list-type', parameters: LIST_PARAMETERS, run: listObjects },
  { name: 'CreateBucket', method: 'PUT', kind: 'bucket', parameters: [], run: createBucket },
  { name: 'HeadBucket', method: 'HEAD', kind: 'bucket', parameters: [], run: headBucket },
  { name: 'DeleteBucket', method: 'DELETE', kind: 'bucket', parameters: [], run: deleteBucket },
  { name: 'PutObject', method: 'PUT', kind: 'object', parameters: [], run: putObject },
  { name: 'GetObject', method: 'GET', kind: 'object', parameters: ['x-amz-checksum-mode'], run: getObject },
  { name: 'HeadObject', method: 'HEAD', kind: 'object', parameters: ['x-amz-checksum-mode'], run: headObject },
  { name: 'DeleteObject', method: 'DELETE', kind: 'object', parameters: [], run: deleteObject },
];

/** Parameters that say nothing about the operation: the SDK's own, and those of a presigned URL. */
const isNeutral = (name: string) => name === 'x-id' || /^x-amz-(algorithm|credential|signature|date|signedheaders|expires|security-token|content-sha256|user-agent|sdk-checksum-algorithm)$/i.test(name);

/** Adds the surface to a scope of its own. */
export function addS3Surface(app: FastifyInstance, surface: S3Surface): void {
  app.removeAllContentTypeParsers();
  // The body stays where it is: an operation that wants it lets it stream.
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload));
  app.setErrorHandler((error, request, reply) => sendS3Error(error, request, reply));
  app.setNotFoundHandler((request, reply) => sendS3Error(new S3Error('MethodNotAllowed'), request, reply));
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-amz-request-id', request.id);
  });
  app.route({
    method: ['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'PATCH', 'OPTIONS'],
    url: '',
    handler: async (request, reply) => sendAnswer(await answer(request, surface), reply),
  });
}

async function answer(request: FastifyRequest, surface: S3Surface): Promise<S3Answer> {
  const { raw } = request;
  const url = splitUrl(receivedUrl(raw));
  const { target, query } = parseUrl(url);
  const signer = await surface.authenticator.identify(raw, 's3');
  requireSignedHeaders(request, signer.claim);
  const payloadHash = declaredPayloadHash(raw, signer.claim);
  surface.authenticator.verify(raw, signer, payloadHash);
  const upload = () => openUpload(raw, signer, { payloadHash, limits: surface.limits });
  return operate(request.method, { store: surface, target, query, request: raw, upload });
}

/** @throws S3Error InvalidURI */
function parseUrl({ path, query }: { path: string; query: string }): { target: S3Target; query: ReadonlyMap<string, string> } {
  if (!path.startsWith('/')) throw new S3Error('InvalidURI');
  try {
    const slash = path.indexOf('/', 1);
    const bucket = decodeURIComponent(slash < 0 ? path.slice(1) : path.slice(1, slash));
    const key = slash < 0 ? '' : decodeURIComponent(path.slice(slash + 1));
    const pairs = new Map(queryPairs(query));
    if (bucket === '' && key === '') return { target: { kind: 'service' }, query: pairs };
    if (key === '') return { target: { kind: 'bucket', bucket }, query: pairs };
    return { target: { kind: 'object', bucket, key }, query: pairs };
  } catch (cause) {
    throw new S3Error('InvalidURI', { cause });
  }
}

/** S3 API Reference, "Create a canonical request": every `x-amz-…` header must be signed (the payload hash is so anyway). */
function requireSignedHeaders({ headers }: FastifyRequest, claim: SignatureClaim): void {
  const unsigned = Object.keys(headers).filter(
    (name) => name.startsWith('x-amz-') && name !== 'x-amz-content-sha256' && !claim.signedHeaders.includes(name),
  );
  if (unsigned.length > 0) throw new AuthFailure('headers-not-signed', unsigned.join(', '));
}

/** @throws S3Error NotImplemented, MethodNotAllowed */
function operate(method: string, call: S3Call): Promise<S3Answer> {
  const names = [...call.query.keys()].filter((name) => !isNeutral(name));
  for (const operation of OPERATIONS) {
    if (operation.method !== method || operation.kind !== call.target.kind) continue;
    if (operation.selector !== undefined && !names.includes(operation.selector)) continue;
    const unknown = names.find((name) => name !== operation.selector && !operation.parameters.includes(name));
    if (unknown !== undefined) throw new S3Error('NotImplemented', { detail: { Parameter: unknown } });
    return run(operation, call);
  }
  const others = OPERATIONS.some((operation) => operation.method === method && operation.kind === call.target.kind);
  throw new S3Error(others || names.length > 0 ? 'NotImplemented' : 'MethodNotAllowed');
}

function run(operation: AnyOperation, call: S3Call): Promise<S3Answer> {
  const { target } = call;
  switch (operation.kind) {
    case 'service':
      if (target.kind === 'service') return operation.run({ ...call, target });
      break;
    case 'bucket':
      if (target.kind === 'bucket') return operation.run({ ...call, target });
      break;
    case 'object':
      if (target.kind === 'object') return operation.run({ ...call, target });
      break;
  }
  throw new Error(`${operation.name} was chosen for a ${target.kind}`);
}

function sendAnswer({ status, headers, body }: S3Answer, reply: FastifyReply): FastifyReply {
  return reply.code(status).headers(headers ?? {}).send(body);
}

function sendS3Error(thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { path, query } = splitUrl(receivedUrl(request.raw));
  const error = s3Error(thrown, query.includes('X-Amz-'));
  const { status } = S3_ERRORS[error.code];
  if (status >= 500 && error.code !== 'NotImplemented') request.log.error({ err: error.cause ?? thrown, requestId: request.id }, 'request failed');
  // A client that went silent or said less than it announced is not waited for.
  if (error.code === 'RequestTimeout' || error.code === 'IncompleteBody') reply.header('connection', 'close');
  reply.code(status).header('content-type', 'application/xml').header('x-amzn-errortype', error.code);
  return reply.send(renderS3Error(error, { resource: path, requestId: request.id }));
}
