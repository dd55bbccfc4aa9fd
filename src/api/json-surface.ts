/** A service over the AWS JSON 1.1 protocol: the action in `X-Amz-Target`, JSON both ways, 400 for every fault of the client's. */
import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { ApiError } from '../contract/exceptions.ts';
import type { JsonServiceContract } from '../contract/service.ts';
import { bodyOf, jsonMembers, readBody } from './request-body.ts';
import { endsConnection, serviceRefusal } from './service-actions.ts';
import type { ServiceErrorCodes, ServiceSurface } from './service-actions.ts';
import { requireSignature } from './signed-requests.ts';

const MEDIA_TYPE = 'application/x-amz-json-1.1';
export const TARGET_HEADER = 'x-amz-target';
/** Whatever else is wrong with a request, this protocol answers 400. */
const CLIENT_FAULT = 400;
const SERVER_FAULT = 500;

/** Adds the surface to a scope of its own, whose one path stands for all paths. */
export function addJsonSurface(app: FastifyInstance, { service, authenticator, context, bodyLimits }: ServiceSurface<JsonServiceContract>): void {
  const { contract, actions, errorCodes } = service;
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request: FastifyRequest, payload: IncomingMessage) => readBody(payload, bodyLimits));
  app.setErrorHandler((error, request, reply) => sendJsonError(error, { request, reply, errorCodes }));
  const signerOf = requireSignature(app, authenticator, { service: contract.signingName });
  app.route({
    method: ['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'PATCH', 'OPTIONS'],
    url: '',
    handler: async (request, reply) => {
      const [prefix, name = ''] = String(request.headers[TARGET_HEADER] ?? '').split('.');
      const action = prefix === contract.targetPrefix && request.method === 'POST' ? actions.get(name) : undefined;
      if (action === undefined) throw new ApiError('UnknownOperationException', `${contract.signingName} has no operation ${name}`.trim());
      const answer = await action(jsonMembers(bodyOf(request)), { ...context, caller: signerOf(request).principal });
      return reply.header('content-type', MEDIA_TYPE).send(answer === undefined ? '' : JSON.stringify(answer));
    },
  });
}

function sendJsonError(error: unknown, { request, reply, errorCodes }: { request: FastifyRequest; reply: FastifyReply; errorCodes: ServiceErrorCodes }): FastifyReply {
  const { code, status, message, cause } = serviceRefusal(error, errorCodes);
  if (status >= SERVER_FAULT) request.log.error({ err: cause, requestId: request.id }, 'request failed');
  if (endsConnection(status)) reply.header('connection', 'close');
  const shown = status >= SERVER_FAULT || endsConnection(status) ? status : CLIENT_FAULT;
  return reply.code(shown).headers({ 'content-type': MEDIA_TYPE, 'x-amzn-errortype': code }).send(JSON.stringify({ __type: code, message }));
}
