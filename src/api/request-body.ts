/** Inputs as they come: small bodies, read whole with a limit on size and on time; queries; labels of the path. */
import type { Readable } from 'node:stream';
import type { FastifyRequest } from 'fastify';
import { ApiError, unparseable } from '../contract/exceptions.ts';
import { receivedUrl, splitUrl } from './authentication.ts';

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

/** What {@link readBody} left in the request; empty where there was no body. */
export const bodyOf = (request: FastifyRequest) => (Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0));

/** Where the members of an input are. */
interface InputPlaces {
  readonly query: readonly string[];
  readonly queryLists: readonly string[];
  readonly hasBody: boolean;
}

/** Body, query and labels of a request as one input; labels win. @throws ApiError */
export function inputMembers(request: FastifyRequest, { query: names, queryLists: listNames, hasBody }: InputPlaces): Record<string, unknown> {
  const { query } = splitUrl(receivedUrl(request.raw));
  return {
    ...(hasBody ? jsonMembers(jsonBody(request)) : {}),
    ...queryMembers(query, names),
    ...queryLists(query, listNames),
    ...(typeof request.params === 'object' ? request.params : {}),
  };
}

const JSON_MEDIA_TYPE = /^application\/(?:x-amz-)?json(?:-1\.[01])?\s*(?:;|$)/i;

/** @throws ApiError UnsupportedMediaTypeException where a body is declared to be something else than JSON */
function jsonBody(request: FastifyRequest): Buffer {
  const body = bodyOf(request);
  const type = request.headers['content-type'];
  if (body.length > 0 && type !== undefined && !JSON_MEDIA_TYPE.test(type)) {
    throw new ApiError('UnsupportedMediaTypeException', `The content type must be application/json, not ${type}`);
  }
  return body;
}

/** The limit of the JSON reader that AWS's services use (Jackson's `StreamReadConstraints`); what shows a value walks it recursively. */
const MAX_JSON_NESTING = 1000;

/** How deep a text goes, at most, that is known to be JSON. */
function nestingOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let isInString = false;
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at];
    // In JSON it is within strings only.
    if (char === '\\') at += 1;
    else if (char === '"') isInString = !isInString;
    else if (isInString) continue;
    else if (char === '[' || char === '{') deepest = Math.max(deepest, (depth += 1));
    else if (char === ']' || char === '}') depth -= 1;
  }
  return deepest;
}

/**
 * The members of a JSON body; none where there is no body.
 * @throws ApiError SerializationException (400 `{"message":null}`, section 1.5) where it is not a JSON object in UTF-8
 */
export function jsonMembers(body: Buffer): Record<string, unknown> {
  if (body.length === 0) return {};
  let value: unknown;
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(body);
    value = JSON.parse(text);
    if (nestingOf(text) > MAX_JSON_NESTING) throw new Error('the JSON is nested too deeply');
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
function queryMembers(query: string, names: readonly string[]): Record<string, string> {
  const members: Record<string, string> = {};
  for (const [name, value] of knownPairs(query, names)) members[name] = value;
  return members;
}

/**
 * Likewise for parameters that may be repeated: all values of each, in order.
 * @throws ApiError SerializationException as {@link queryMembers}
 */
function queryLists(query: string, names: readonly string[]): Record<string, string[]> {
  const lists: Record<string, string[]> = {};
  for (const [name, value] of knownPairs(query, names)) (lists[name] ??= []).push(value);
  return lists;
}

function* knownPairs(query: string, names: readonly string[]): Iterable<readonly [string, string]> {
  for (const part of query.split('&')) {
    const at = part.indexOf('=');
    const name = at < 0 ? part : part.slice(0, at);
    const value = at < 0 ? '' : part.slice(at + 1);
    if (!names.includes(name)) continue;
    if (value.includes('=')) throw unparseable();
    try {
      yield [name, decodeURIComponent(value)];
    } catch (error) {
      throw unparseable(error);
    }
  }
}
