/** What Lull adds under `/lull/v1`: health, metrics, reports, access keys, images made again, streams of output, of build events and of what is verified, the end of the server. */
import { pipeline } from 'node:stream/promises';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { parseInput } from '../contract/constraints.ts';
import { EVENTS_MEDIA_TYPE, EXTENSIONS, EXTENSION_INPUT_OF, LOG_MEDIA_TYPE, METRICS_MEDIA_TYPE } from '../contract/extensions.ts';
import type { CreateKeyAnswer, ExtensionInput, ExtensionName, GarbageAnswer, HealthAnswer, KeysAnswer, RebuildAnswer, ReportAnswer, ShutdownAnswer } from '../contract/extensions.ts';
import { ApiError } from '../contract/exceptions.ts';
import { routerPath } from '../contract/labels.ts';
import type { ControlPlane, MicrovmReport } from '../control/control-plane.ts';
import { mayReadMetrics, METRICS_REFUSAL } from './metrics-access.ts';
import { inputMembers } from './request-body.ts';

/** Streams that go on while their client listens; the server's end ends them. */
type OpenStreams = Set<AbortController>;

const renderReport = ({ launch, suspend, wake }: MicrovmReport): ReportAnswer => ({
  launch: launch === null ? null : [...launch],
  suspend: suspend === null ? null : { ...suspend, steps: [...suspend.steps] },
  wake: wake === null ? null : [...wake],
});

/** Adds the extensions to the scope of the Lambda surface, whose authentication and errors they share. */
export function addExtensions(app: FastifyInstance, control: ControlPlane, metricsToken: (() => string) | undefined): void {
  const open: OpenStreams = new Set();
  app.addHook('preClose', async () => {
    for (const stream of open) stream.abort();
  });
  add(app, 'health', (): Promise<HealthAnswer> => control.server.health());
  add(app, 'metrics', async (_input, { request, reply }) => {
    if (!mayReadMetrics(request.raw, metricsToken?.())) throw new ApiError('AccessDeniedException', METRICS_REFUSAL);
    const text = await control.server.metrics();
    void reply.header('content-type', METRICS_MEDIA_TYPE).send(text);
  });
  add(app, 'microvmReport', async ({ microvmIdentifier }) => renderReport(await control.microvms.report(microvmIdentifier)));
  add(app, 'shutdown', (): Promise<ShutdownAnswer> => control.server.suspendAllAndStop());
  add(app, 'collectGarbage', async (choice): Promise<GarbageAnswer> => ({ garbage: [...(await control.garbage.collect(choice))] }));
  add(app, 'keys', async (): Promise<KeysAnswer> => ({ keys: [...(await control.keys.list())] }));
  add(app, 'createKey', async ({ description }): Promise<CreateKeyAnswer> => {
    const { accessKeyId, secretAccessKey, createdAtMs, description: kept } = await control.keys.create(description);
    return { accessKeyId, secretAccessKey, createdAtMs, description: kept };
  });
  add(app, 'revokeKey', async ({ accessKeyId }) => {
    await control.keys.revoke(accessKeyId);
    return {};
  });
  add(app, 'microvmLogs', ({ microvmIdentifier, follow }, call) => {
    const source = (options: StreamOptions) => control.microvms.logs(microvmIdentifier, options);
    return sendStream(call, open, { mediaType: LOG_MEDIA_TYPE, follow: follow === 'true', source });
  });
  add(app, 'rebuildImage', async (input): Promise<RebuildAnswer> => {
    const { image, version } = await control.images.rebuild(input);
    return { imageArn: image.imageArn, imageVersion: version.version };
  });
  add(app, 'verify', (request, call) => {
    const source = async ({ signal }: StreamOptions) => ndjson(await control.integrity.verify(request, signal));
    return sendStream(call, open, { mediaType: EVENTS_MEDIA_TYPE, follow: false, source });
  });
  add(app, 'buildEvents', ({ imageIdentifier, imageVersion, follow }, call) => {
    const source = async (options: StreamOptions) => ndjson(await control.images.buildEvents(imageIdentifier, imageVersion, options));
    return sendStream(call, open, { mediaType: EVENTS_MEDIA_TYPE, follow: follow === 'true', source });
  });
}

interface StreamOptions {
  readonly follow: boolean;
  readonly signal: AbortSignal;
}

interface StreamedAnswer {
  readonly mediaType: string;
  readonly follow: boolean;
  readonly source: (options: StreamOptions) => Promise<AsyncIterable<Buffer>>;
}

/**
 * Answers with a stream as it comes. The headers go out at once, so that a client that follows knows that it is connected;
 * a stream that fails ends its connection, so that it cannot be taken for complete.
 */
async function sendStream({ request, reply }: Call, open: OpenStreams, answer: StreamedAnswer): Promise<undefined> {
  const abort = new AbortController();
  const { signal } = abort;
  open.add(abort);
  reply.raw.once('close', () => abort.abort());
  try {
    const source = await answer.source({ follow: answer.follow, signal });
    reply.header('content-type', answer.mediaType).header('x-content-type-options', 'nosniff').hijack();
    for (const [name, value] of Object.entries(reply.getHeaders())) if (value !== undefined) reply.raw.setHeader(name, value);
    reply.raw.flushHeaders();
    await pipeline(source, reply.raw, { signal });
  } catch (error) {
    if (!reply.sent) throw error;
    if (!signal.aborted) request.log.error({ err: error, requestId: request.id }, 'stream failed');
    reply.raw.destroy();
  } finally {
    open.delete(abort);
    abort.abort();
  }
  return undefined;
}

interface Call {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** Registers one extension. What its handler returns is the JSON answer; undefined means that it answered by itself. */
function add<E extends ExtensionName>(app: FastifyInstance, name: E, handler: (input: ExtensionInput<E>, call: Call) => unknown): void {
  const extension = EXTENSIONS[name];
  app.route({
    method: extension.method,
    url: routerPath(extension.path),
    handler: async (request, reply) => {
      const input = parseInput(EXTENSION_INPUT_OF[name].input, inputMembers(request, extension));
      const answer = await handler(input, { request, reply });
      if (answer === undefined) return reply;
      return reply.header('content-type', 'application/json').send(JSON.stringify(answer));
    },
  });
}

async function* ndjson(events: AsyncIterable<unknown>): AsyncGenerator<Buffer> {
  for await (const event of events) yield Buffer.from(`${JSON.stringify(event)}\n`);
}
