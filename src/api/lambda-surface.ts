/**
 * The Lambda surface over HTTP (restJson1): every operation of the table, authentication, errors. Contract reference,
 * sections 1.1 to 1.6 and appendix A.
 */
import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { parseInput } from '../contract/constraints.ts';
import { ApiError, renderError } from '../contract/exceptions.ts';
import { EXTENSIONS } from '../contract/extensions.ts';
import { matchesTemplate, routerPath } from '../contract/labels.ts';
import { SENSITIVE_MEMBERS } from '../contract/microvms.ts';
import { INPUT_OF, LAMBDA_SERVICE, OPERATIONS, OPERATION_NAMES, errorFamily } from '../contract/operations.ts';
import type { OperationContract, OperationName } from '../contract/operations.ts';
import { receivedUrl, splitUrl } from './authentication.ts';
import type { Authenticator } from './authentication.ts';
import { connectorHandlers } from './connector-handlers.ts';
import type { Handler, HandlerContext, HandlersOf } from './handlers.ts';
import { imageHandlers } from './image-handlers.ts';
import { lambdaError } from './lambda-errors.ts';
import { microvmHandlers } from './microvm-handlers.ts';
import type { RateLimits } from './rate-limits.ts';
import { inputMembers, readBody } from './request-body.ts';
import type { BodyLimits } from './request-body.ts';
import { requireSignature } from './signed-requests.ts';
import { tagHandlers } from './tag-handlers.ts';

const HANDLERS: HandlersOf<OperationName> = { ...microvmHandlers, ...imageHandlers, ...tagHandlers, ...connectorHandlers };

/** What the surface needs. */
export interface LambdaSurface {
  readonly authenticator: Authenticator;
  readonly context: HandlerContext;
  readonly rateLimits: RateLimits;
  readonly bodyLimits: BodyLimits;
}

/** Sends a refusal. Anything but a refusal is logged with its cause first. */
export function sendLambdaError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const refusal = lambdaError(error);
  const { status, headers, body } = renderError(refusal, errorFamily(splitUrl(receivedUrl(request.raw)).path));
  if (status >= 500) request.log.error({ err: refusal.cause ?? error, requestId: request.id }, 'request failed');
  // What is left of a body that was refused half-way is not worth reading.
  if (status === 408 || status === 413) reply.header('connection', 'close');
  return reply.code(status).headers(headers).send(body);
}

/** Metrics have a rule of their own: `metrics-access.ts`. */
const OPEN_PATHS: readonly string[] = [EXTENSIONS.health.path, EXTENSIONS.metrics.path];

const isOpen = (request: FastifyRequest) => request.method === 'GET' && OPEN_PATHS.includes(splitUrl(receivedUrl(request.raw)).path);

/** Adds the surface to a scope of its own. */
export function addLambdaSurface(app: FastifyInstance, surface: LambdaSurface): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request: FastifyRequest, payload: IncomingMessage) => readBody(payload, surface.bodyLimits));
  app.setErrorHandler((error, request, reply) => sendLambdaError(error, request, reply));
  requireSignature(app, surface.authenticator, { service: LAMBDA_SERVICE, isOpen });
  for (const name of OPERATION_NAMES) addOperation(app, name, surface);
  app.setNotFoundHandler((request, reply) => sendLambdaError(unknownOperation(request), request, reply));
}

const NO_CONTENT = 204;

function addOperation<O extends OperationName>(app: FastifyInstance, name: O, { context, rateLimits }: LambdaSurface): void {
  const operation: OperationContract = OPERATIONS[name];
  const handler: Handler<O> = HANDLERS[name];
  app.route({
    method: operation.method,
    url: routerPath(operation.path),
    handler: async (request, reply) => {
      // Only signed calls come here: nobody else can use a rate up.
      rateLimits.take(name);
      const answer = await handler(parseInput(INPUT_OF[name].input, inputMembers(request, operation), SENSITIVE_MEMBERS), context);
      if (operation.status === NO_CONTENT) return reply.code(NO_CONTENT).send();
      return reply.code(operation.status).header('content-type', 'application/json').send(JSON.stringify(answer));
    },
  });
}

function unknownOperation(request: FastifyRequest): ApiError {
  const { path } = splitUrl(receivedUrl(request.raw));
  const known = [...Object.values(OPERATIONS), ...Object.values(EXTENSIONS)].filter(({ path: template }) => matchesTemplate(template, path));
  if (known.length === 0) return new ApiError('UnknownOperationException', `No operation has the path ${path}`);
  const methods = known.map((operation) => operation.method).join(', ');
  return new ApiError('MethodNotAllowedException', `${request.method} is not allowed on ${path}: use ${methods}`);
}
