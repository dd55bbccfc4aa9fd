/** The typed client of the command line and the console: AWS's operations, the artifact store, and Lull's own extensions. */
import { createReadStream } from 'node:fs';
import type { Readable } from 'node:stream';
import type { z } from 'zod';
import { EXTENSIONS, buildEventLine, createKeyAnswer, garbageAnswer, healthAnswer, keysAnswer, rebuildAnswer, reportAnswer, shutdownAnswer, verifiedFileLine } from '../contract/extensions.ts';
import type { BuildEventLine, CreateKeyAnswer, GarbageAnswer, HealthAnswer, KeysAnswer, RebuildAnswer, ReportAnswer, ShutdownAnswer, VerifiedFileLine } from '../contract/extensions.ts';
import { fillTemplate } from '../contract/labels.ts';
import { emptyAnswer } from '../contract/microvms.ts';
import { LAMBDA_SERVICE, OPERATIONS, S3_SERVICE } from '../contract/operations.ts';
import type { OperationAnswer, OperationName, OperationRequest } from '../contract/operations.ts';
import { ApiRefusal, linesOf, readText, send } from './transport.ts';
import type { Connection } from './transport.ts';

const JSON_TYPE = 'application/json';
const ZIP_TYPE = 'application/zip';

/** Operations that answer a page. */
type PagedOperation = { [O in OperationName]: OperationAnswer<O> extends { items: unknown[]; nextToken: string | null } ? O : never }[OperationName];

type Item<O extends PagedOperation> = OperationAnswer<O> extends { items: (infer I)[] } ? I : never;

interface Follow {
  readonly follow: boolean;
  readonly signal: AbortSignal;
}

interface VerifyRequest {
  readonly images: readonly { readonly imageIdentifier: string; readonly imageVersion: string | null }[];
  readonly microvms: readonly string[];
}

/** Speaks to one server. Every method throws ApiRefusal or ServerUnreachable (`transport.ts`). */
export class LullClient {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Calls one of AWS's operations. */
  async call<O extends OperationName>(operation: O, input: OperationRequest<O>, signal?: AbortSignal): Promise<OperationAnswer<O>> {
    const { method, path, query, hasBody, answer } = OPERATIONS[operation];
    const rest: Record<string, unknown> = { ...(input as Record<string, unknown>) };
    const filled = fillTemplate(path, takeText(rest, labelsOf(path)));
    const asked = takeText(rest, query);
    const body = hasBody ? { body: { text: JSON.stringify(rest), type: JSON_TYPE } } : {};
    const response = await send(this.#connection, { method, path: filled, query: asked, service: LAMBDA_SERVICE, signal, ...body });
    const schema: z.ZodType = answer;
    return schema.parse(JSON.parse((await readText(response)) || '{}')) as OperationAnswer<O>;
  }

  /** Every item of a listing, page after page. */
  async *list<O extends PagedOperation>(operation: O, input: OperationRequest<O>): AsyncIterable<Item<O>> {
    let nextToken: string | null = null;
    do {
      const asked: OperationRequest<O> = nextToken === null ? input : { ...input, nextToken };
      const page: OperationAnswer<PagedOperation> = await this.call(operation, asked);
      yield* page.items as Item<O>[];
      nextToken = page.nextToken;
    } while (nextToken !== null);
  }

  health(): Promise<HealthAnswer> {
    return this.#extension('health', healthAnswer);
  }

  /** How the last launch, suspend and wake of a microVM went. */
  report(microvmIdentifier: string): Promise<ReportAnswer> {
    return this.#extension('microvmReport', reportAnswer, { labels: { microvmIdentifier } });
  }

  /** Begins a version from the code and the configuration of another one; null for the newest. */
  rebuild({ imageIdentifier, imageVersion }: { imageIdentifier: string; imageVersion: string | null }): Promise<RebuildAnswer> {
    return this.#extension('rebuildImage', rebuildAnswer, { labels: { imageIdentifier }, body: { imageVersion } });
  }

  /** Makes an access key. */
  createKey(description: string | null): Promise<CreateKeyAnswer> {
    return this.#extension('createKey', createKeyAnswer, { body: { description } });
  }

  /** The installation's access keys, newest first. */
  async keys(): Promise<KeysAnswer['keys']> {
    return (await this.#extension('keys', keysAnswer)).keys;
  }

  async revokeKey(accessKeyId: string): Promise<void> {
    await this.#extension('revokeKey', emptyAnswer, { labels: { accessKeyId } });
  }

  /** Removes what nobody uses, or only says what that is. */
  async collectGarbage(dryRun: boolean): Promise<GarbageAnswer['garbage']> {
    return (await this.#extension('collectGarbage', garbageAnswer, { body: { dryRun } })).garbage;
  }

  /** Suspends every running microVM and stops the server. */
  shutdown(): Promise<ShutdownAnswer> {
    return this.#extension('shutdown', shutdownAnswer);
  }

  /** What the application wrote; with `follow` until `signal`. */
  async logs(microvmIdentifier: string, options: Follow): Promise<Readable> {
    return await this.#open('microvmLogs', { microvmIdentifier }, options);
  }

  /** What a build tells; with `follow` until it has ended. */
  async *buildEvents(image: { imageIdentifier: string; imageVersion: string }, options: Follow): AsyncIterable<BuildEventLine> {
    const stream = await this.#open('buildEvents', image, options);
    for await (const line of linesOf(stream)) {
      if (line !== '') yield buildEventLine.parse(JSON.parse(line));
    }
  }

  /** Reads what is kept of images and microVMs, of everything at rest where none are named; findings come as they are made. */
  async *verify(request: VerifyRequest, signal: AbortSignal): AsyncIterable<VerifiedFileLine> {
    const { method, path } = EXTENSIONS.verify;
    const body = { text: JSON.stringify(request), type: JSON_TYPE };
    const stream = await send(this.#connection, { method, path, service: LAMBDA_SERVICE, signal, body });
    for await (const line of linesOf(stream)) {
      if (line !== '') yield verifiedFileLine.parse(JSON.parse(line));
    }
  }

  /** Makes a bucket of the artifact store; one that is there already is as good. */
  async createBucket(bucket: string): Promise<void> {
    try {
      await send(this.#connection, { method: 'PUT', path: `/${encodeURIComponent(bucket)}`, service: S3_SERVICE });
    } catch (error) {
      if (!(error instanceof ApiRefusal && error.status === 409)) throw error;
    }
  }

  /** Stores a file. @param file.sha256 hex digest of its bytes */
  async putObject(at: { bucket: string; key: string }, file: { path: string; sizeBytes: number; sha256: string }): Promise<void> {
    const path = `/${[at.bucket, ...at.key.split('/')].map(encodeURIComponent).join('/')}`;
    const body = { stream: () => createReadStream(file.path), sizeBytes: file.sizeBytes, sha256: file.sha256, type: ZIP_TYPE };
    (await send(this.#connection, { method: 'PUT', path, service: S3_SERVICE, body })).resume();
  }

  async #extension<S extends z.ZodType>(
    name: keyof typeof EXTENSIONS,
    answer: S,
    { labels = {}, body }: { labels?: Record<string, string>; body?: object } = {},
  ): Promise<z.output<S>> {
    const { method, path } = EXTENSIONS[name];
    const sent = body === undefined ? {} : { body: { text: JSON.stringify(body), type: JSON_TYPE } };
    const response = await send(this.#connection, { method, path: fillTemplate(path, labels), service: LAMBDA_SERVICE, ...sent });
    return answer.parse(JSON.parse(await readText(response)));
  }

  #open(name: 'microvmLogs' | 'buildEvents', labels: Record<string, string>, { follow, signal }: Follow): Promise<Readable> {
    const { method, path } = EXTENSIONS[name];
    const query = { follow: String(follow) };
    return send(this.#connection, { method, path: fillTemplate(path, labels), query, service: LAMBDA_SERVICE, signal });
  }
}

const labelsOf = (path: string) => [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]!);

/** Moves the named members out of an input, as text. */
function takeText(input: Record<string, unknown>, names: readonly string[]): Record<string, string> {
  const taken: Record<string, string> = {};
  for (const name of names) {
    const value = input[name];
    if (typeof value === 'string' || typeof value === 'number') taken[name] = String(value);
    delete input[name];
  }
  return taken;
}
