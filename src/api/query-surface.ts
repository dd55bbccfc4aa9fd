/** A service over the AWS query protocol: `Action=…&Version=…` in a form or in the query, XML back. */
import type { IncomingMessage } from 'node:http';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { LullError } from '../domain/errors.ts';
import type { ExceptionName } from '../contract/exceptions.ts';
import type { QueryServiceContract } from '../contract/service.ts';
import { receivedUrl, splitUrl } from './authentication.ts';
import { queryInput } from './query-input.ts';
import { bodyOf, readBody } from './request-body.ts';
import { element, escapeXml, wrap } from './s3/xml.ts';
import { endsConnection, serviceRefusal } from './service-actions.ts';
import type { ServiceErrorCodes, ServiceSurface } from './service-actions.ts';
import { requireSignature } from './signed-requests.ts';

const FORM = /^application\/x-www-form-urlencoded\s*(?:;|$)/i;
const SERVER_FAULT = 500;

/** True for a body of this protocol. */
export const isForm = (request: IncomingMessage) => FORM.test(request.headers['content-type'] ?? '');

/** What the front door's exceptions are called here (STS and IAM API references, "Common errors"). */
const PROTOCOL_CODES: Partial<Record<ExceptionName, string>> = {
  MissingAuthenticationTokenException: 'MissingAuthenticationToken',
  IncompleteSignatureException: 'IncompleteSignature',
  InvalidSignatureException: 'SignatureDoesNotMatch',
  UnrecognizedClientException: 'InvalidClientTokenId',
  ExpiredTokenException: 'ExpiredToken',
  AccessDeniedException: 'AccessDenied',
  SerializationException: 'MalformedQueryString',
};

/** Adds the surface to a scope of its own, whose one path stands for all paths. */
export function addQuerySurface(app: FastifyInstance, { service, authenticator, context, bodyLimits }: ServiceSurface<QueryServiceContract>): void {
  const { contract, actions, errorCodes } = service;
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', (_request: FastifyRequest, payload: IncomingMessage) => readBody(payload, bodyLimits));
  app.setErrorHandler((error, request, reply) => sendQueryError(error, { request, reply, errorCodes, namespace: contract.namespace }));
  const signerOf = requireSignature(app, authenticator, { service: contract.signingName });
  app.route({
    method: ['GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'PATCH', 'OPTIONS'],
    url: '',
    handler: async (request, reply) => {
      const { action: name, version, ...members } = queryInput(parametersOf(request));
      if (typeof name !== 'string') throw new LullError('validation', 'The request is missing an action.', { awsCode: 'MissingAction' });
      const action = version === contract.version ? actions.get(name) : undefined;
      if (action === undefined) {
        throw new LullError('validation', `Could not find operation ${name} for version ${typeof version === 'string' ? version : 'NO_VERSION_SPECIFIED'}`, { awsCode: 'InvalidAction' });
      }
      const answer = await action(members, { ...context, caller: signerOf(request).principal });
      const result = answer === undefined ? '' : wrap(`${name}Result`, membersXml(answer));
      const metadata = wrap('ResponseMetadata', element('RequestId', request.id));
      return reply.header('content-type', 'text/xml').send(documentXml(`${name}Response`, contract.namespace, result + metadata));
    },
  });
}

/** The form, or the query of a request without one (a presigned GetCallerIdentity, as other systems use it to prove who somebody is). */
function parametersOf(request: FastifyRequest): URLSearchParams {
  const form = isForm(request.raw) ? bodyOf(request).toString() : '';
  return new URLSearchParams(form === '' ? splitUrl(receivedUrl(request.raw)).query : form);
}

function sendQueryError(
  error: unknown,
  { request, reply, errorCodes, namespace }: { request: FastifyRequest; reply: FastifyReply; errorCodes: ServiceErrorCodes; namespace: string },
): FastifyReply {
  const { code: given, isProtocol, status, message, cause } = serviceRefusal(error, errorCodes);
  if (status >= SERVER_FAULT) request.log.error({ err: cause, requestId: request.id }, 'request failed');
  if (endsConnection(status)) reply.header('connection', 'close');
  const code = isProtocol ? (PROTOCOL_CODES[given as ExceptionName] ?? given) : given;
  const type = status >= SERVER_FAULT ? 'Receiver' : 'Sender';
  const detail = wrap('Error', element('Type', type) + element('Code', code) + element('Message', message));
  const xml = documentXml('ErrorResponse', namespace, detail + element('RequestId', request.id));
  return reply.code(status).headers({ 'content-type': 'text/xml', 'x-amzn-errortype': code }).send(xml);
}

const documentXml = (root: string, namespace: string, inner: string) => `<${root} xmlns="${namespace}">${inner}</${root}>`;

/** Members of a structure in their order; what is null or undefined is left out, lists are `<member>`s. */
function membersXml(structure: object): string {
  return Object.entries(structure)
    .map(([name, value]) => (value === undefined || value === null ? '' : wrap(name, valueXml(value))))
    .join('');
}

function valueXml(value: unknown): string {
  if (Array.isArray(value)) return value.map((item) => wrap('member', valueXml(item))).join('');
  if (typeof value === 'object' && value !== null) return membersXml(value);
  return escapeXml(String(value));
}
