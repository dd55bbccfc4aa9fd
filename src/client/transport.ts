/** One signed HTTP request to the API of a server. */
import { request as httpRequest } from 'node:http';
import type { Agent, IncomingMessage } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { SecureContext } from 'node:tls';
import { parseError } from '../contract/exceptions.ts';
import { EMPTY_SHA256, signHeaders } from '../lib/sigv4.ts';
import type { SigningCredentials } from '../lib/sigv4.ts';
import { certificateFault } from './trust.ts';

/** Answers other than streams are held in memory: no listing comes near this. */
const MAX_ANSWER_BYTES = 32 * 1024 * 1024;

/** How to reach a server and as whom. */
export interface Connection {
  /** Origin of the API: `http://127.0.0.1:8470`. */
  readonly apiUrl: string;
  readonly region: string;
  readonly credentials: SigningCredentials;
  /** Whose certificates are taken, where the API speaks TLS: `apiTrust`. Node's roots alone where left out. */
  readonly trust?: SecureContext | undefined;
  /** Keeps connections; each request has one of its own without. */
  readonly agent?: Agent;
}

/** A body with what its signature needs. */
export type Body =
  | { readonly text: string; readonly type: string }
  | { readonly stream: () => Readable; readonly sizeBytes: number; readonly sha256: string; readonly type: string };

export interface ApiRequest {
  readonly method: string;
  /** Percent-encoded. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly service: 'lambda' | 's3';
  readonly body?: Body;
  /** Ends the request, also in the middle of a streamed answer. */
  readonly signal?: AbortSignal | undefined;
}

/** The server answered with an error: `message` is what it said. */
export class ApiRefusal extends Error {
  override readonly name = 'ApiRefusal';
  readonly status: number;
  readonly exception: string | undefined;

  constructor(message: string, answer: { status: number; exception: string | undefined }) {
    super(message);
    this.status = answer.status;
    this.exception = answer.exception;
  }
}

/** Nobody answered who could be trusted. */
export class ServerUnreachable extends Error {
  override readonly name = 'ServerUnreachable';
}

/**
 * Sends a request and waits for the head of its answer.
 * @throws ApiRefusal where the status is not 2xx; ServerUnreachable where there is no answer
 */
export async function send(connection: Connection, request: ApiRequest): Promise<IncomingMessage> {
  const url = new URL(request.path, connection.apiUrl);
  url.search = new URLSearchParams(request.query).toString();
  const { body } = request;
  const headers: Record<string, string> = {};
  if (body !== undefined) {
    headers['content-type'] = body.type;
    headers['content-length'] = String('text' in body ? Buffer.byteLength(body.text) : body.sizeBytes);
  }
  const payload = body === undefined ? { hash: EMPTY_SHA256 } : 'text' in body ? body.text : { hash: body.sha256 };
  const context = { credentials: connection.credentials, region: connection.region, service: request.service, nowMs: Date.now() };
  const signed = signHeaders({ method: request.method, url, headers }, payload, context);
  const answer = await exchange(connection, { url, headers: signed, request });
  const status = answer.statusCode ?? 0;
  if (status >= 200 && status < 300) return answer;
  const text = await readText(answer);
  const plain = Object.fromEntries(Object.entries(answer.headers).map(([name, value]) => [name, value?.toString()]));
  const error = parseError({ status, headers: plain, body: text });
  const said = error.exception === undefined ? xmlError(text) : undefined;
  throw new ApiRefusal(said?.message ?? error.message, { status, exception: said?.code ?? error.exception });
}

async function exchange(
  connection: Connection,
  { url, headers, request }: { url: URL; headers: Record<string, string>; request: ApiRequest },
): Promise<IncomingMessage> {
  const secure = url.protocol === 'https:';
  const options = { method: request.method, headers, agent: connection.agent ?? false, ...(request.signal === undefined ? {} : { signal: request.signal }) };
  const trusting = connection.trust === undefined ? options : { ...options, secureContext: connection.trust };
  const outgoing = secure ? httpsRequest(url, trusting) : httpRequest(url, options);
  const answer = new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.once('response', resolve);
    outgoing.once('error', reject);
  });
  try {
    if (request.body !== undefined && 'stream' in request.body) {
      // A server that refuses early answers before it has read all: the answer counts, not the broken upload.
      pipeline(request.body.stream(), outgoing).catch(() => undefined);
    } else {
      outgoing.end(request.body?.text);
    }
    return await answer;
  } catch (cause) {
    if (request.signal?.aborted === true) throw cause;
    const fault = certificateFault((cause as NodeJS.ErrnoException).code);
    if (fault !== undefined) throw new ServerUnreachable(`The server at ${url.origin} ${fault}`, { cause });
    throw new ServerUnreachable(`No server answers at ${url.origin} (${reason(cause)}). Start one with \`lull up\`.`, { cause });
  }
}

const reason = (cause: unknown) => (cause as NodeJS.ErrnoException).code ?? (cause as Error).message;

/** All of an answer as text. @throws Error where it is longer than any answer of ours */
export async function readText(answer: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > MAX_ANSWER_BYTES) throw new Error('the answer is longer than it can rightly be');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The lines of a streamed answer, as they come. @throws ServerUnreachable where the server ends in the middle of it */
export async function* linesOf(answer: Readable): AsyncIterable<string> {
  let rest = '';
  answer.setEncoding('utf8');
  try {
    for await (const text of answer as AsyncIterable<string>) {
      const lines = (rest + text).split('\n');
      rest = lines.pop()!;
      yield* lines;
    }
  } catch (cause) {
    throw new ServerUnreachable('The server went away in the middle of its answer.', { cause });
  }
  if (rest !== '') yield rest;
}

/** S3 tells errors as XML. */
function xmlError(text: string): { code: string | undefined; message: string } | undefined {
  const message = /<Message>([^<]*)<\/Message>/.exec(text)?.[1];
  return message === undefined ? undefined : { code: /<Code>([^<]*)<\/Code>/.exec(text)?.[1], message };
}
