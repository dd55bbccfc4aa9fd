/** Small request bodies: read whole, with a limit on size and on time. */
import type { Readable } from 'node:stream';
import type { FastifyRequest } from 'fastify';
import { ApiError, unparseable } from '../contract/exceptions.ts';

/** What a body of the Lambda surface may be. */
export interface BodyLimits {
  readonly maxBytes: number;
  /** How long the client may take to send all of it. */
  readonly timeoutMs: number;
}

/**
 * Reads a body whole. The rest of one that is refused is left to the server, which closes the connection.
 * @throws ApiError RequestEntityTooLargeException, RequestTimeoutException; SerializationException where the client went away
 */
export function readBody(source: Readable, limits: BodyLimits): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const settle = (outcome: () => void) => {
      clearTimeout(timer);
      source.removeListener('data', onData).removeListener('end', onEnd).removeListener('close', onClose);
      outcome();
    };
    const refuse = (error: ApiError) => settle(() => reject(error));
    const onData = (chunk: Buffer) => {
      size += chunk.length;
      if (size > limits.maxBytes) {
        source.pause();
        refuse(new ApiError('RequestEntityTooLargeException', `Request must be smaller than ${limits.maxBytes} bytes`));
      } else {
        chunks.push(chunk);
      }
    };
    const onEnd = () => settle(() => resolve(Buffer.concat(chunks, size)));
    const onClose = () => refuse(unparseable(new Error('the client went away before its body was complete')));
    const timer = setTimeout(() => {
      source.pause();
      refuse(new ApiError('RequestTimeoutException', `The request body did not arrive within ${limits.timeoutMs} ms`));
    }, limits.timeoutMs);
    source.on('data', onData).on('end', onEnd).on('close', onClose);
    source.on('error', onClose);
  });
}

/** The body of a request, once {@link readBody} has read it. */
export const bodyOf = (request: FastifyRequest) => (Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0));

/**
 * The members of a JSON body; none where there is no body.
 * @throws ApiError SerializationException (400 `{"message":null}`, section 1.5) where it is not a JSON object in UTF-8
 */
export function jsonMembers(body: Buffer): Record<string, unknown> {
  if (body.length === 0) return {};
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(body));
  } catch (error) {
    throw unparseable(error);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw unparseable();
  return { ...value };
}

/**
 * The parameters of a query that an operation knows; others are ignored.
 * @throws ApiError SerializationException where it is broken, or a value holds a bare `=` (section 1.7)
 */
export function queryMembers(query: string, names: readonly string[]): Record<string, string> {
  const members: Record<string, string> = {};
  for (const part of query.split('&')) {
    const at = part.indexOf('=');
    const name = at < 0 ? part : part.slice(0, at);
    const value = at < 0 ? '' : part.slice(at + 1);
    if (!names.includes(name)) continue;
    if (value.includes('=')) throw unparseable();
    try {
      members[name] = decodeURIComponent(value);
    } catch (error) {
      throw unparseable(error);
    }
  }
  return members;
}
