/** The S3 surface over HTTP: target of a request, authentication, operation, errors as XML. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { receivedUrl, splitUrl } from '../authentication.ts';
import type { Authenticator } from '../authentication.ts';
import { requireAccess } from './access.ts';
import type { ObjectStore, S3Answer } from './call.ts';
import { hoistedHeaders } from './hoisted-headers.ts';
import { operate } from './operations.ts';
import { readPresignedV2 } from './presigned-v2.ts';
import { S3Error, S3_ERRORS, renderS3Error, s3Error } from './s3-error.ts';
import { parseTarget } from './target.ts';
import { declaredPayloadHash, openUpload } from './upload.ts';
import type { UploadOptions } from './upload.ts';

export interface S3Surface extends ObjectStore {
  readonly authenticator: Authenticator;
  /** Names under which the API is reached; a bucket's name may stand before one of them. */
  readonly apiHosts: readonly string[];
}

/** Whose a client says the bucket is, and the one that it copies from (S3 User Guide, "Verifying bucket ownership with bucket owner condition"). */
const OWNER_HEADERS = ['x-amz-expected-bucket-owner', 'x-amz-source-expected-bucket-owner'];

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
  const addressed = parseTarget({ ...url, host: raw.headers.host ?? '' }, surface.apiHosts);
  const { target } = addressed;
  const { authenticator } = surface;
  const link = readPresignedV2(raw, addressed, surface.clock.nowMs());
  const signer = link === undefined ? await authenticator.identify(raw, 's3') : null;
  const payloadHash = declaredPayloadHash(raw, signer?.claim ?? null);
  if (signer !== null) authenticator.verify(raw, signer, payloadHash);
  const principal = link === undefined ? signer!.principal : await authenticator.verifyLink(raw, link);
  if (target.kind !== 'service') requireAccess(principal, target.bucket);
  const query = link?.overrides ?? addressed.query;
  const headers = { ...hoistedHeaders(query), ...raw.headers };
  // There is one owner, of the source of a copy too.
  const isOthers = OWNER_HEADERS.some((name) => ![undefined, surface.realm.account].includes(headers[name]?.toString()));
  if (isOthers) throw new S3Error('AccessDenied');
  const upload = (options: UploadOptions = {}) => openUpload(raw, signer, { ...options, payloadHash, limits: surface.limits });
  return operate(request.method, { store: surface, target, query, headers, request: raw, principal, upload });
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
