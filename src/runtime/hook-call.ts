/** One call of a lifecycle hook: HTTP/1.1 POST, from 127.0.0.1 in the guest (contract reference, section 4). */
import { once } from 'node:events';
import { request, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { HookOutcome } from '../domain/hooks.ts';
import { DeadlineError, within } from '../lib/deadline.ts';

/** The status decides; the rest is read so that the application can finish its answer in peace, but not for ever. */
const REST_LIMIT_MS = 1000;

export interface HookCall {
  readonly port: number;
  readonly path: string;
  readonly body?: string;
  readonly timeoutMs: number;
  /** Gives the call up. */
  readonly signal?: AbortSignal;
}

/** @param dial opens the stream to the hook's port @returns the status, or why there is none */
export async function postHook(dial: () => Promise<Duplex>, hook: HookCall): Promise<HookOutcome> {
  const abort = new AbortController();
  const givenUp = Promise.withResolvers<never>();
  const giveUp = () => givenUp.reject(hook.signal?.reason);
  hook.signal?.addEventListener('abort', giveUp, { once: true });
  try {
    hook.signal?.throwIfAborted();
    const response = await within(hook.path, hook.timeoutMs, Promise.race([post(dial, hook, abort.signal), givenUp.promise]));
    await within('the rest of the answer', REST_LIMIT_MS, once(response.resume(), 'close')).catch(() => undefined);
    return response.statusCode ?? 0;
  } catch (error) {
    return error instanceof DeadlineError ? 'timeout' : 'refused';
  } finally {
    hook.signal?.removeEventListener('abort', giveUp);
    abort.abort();
  }
}

async function post(dial: () => Promise<Duplex>, hook: HookCall, signal: AbortSignal): Promise<IncomingMessage> {
  const stream = await dial();
  if (signal.aborted) {
    stream.destroy();
    throw new Error('the hook was given up before its port answered');
  }
  const answer = Promise.withResolvers<IncomingMessage>();
  const body = hook.body ?? '';
  const call = request({
    method: 'POST',
    path: hook.path,
    signal,
    createConnection: () => stream,
    headers: {
      host: `localhost:${hook.port}`,
      connection: 'close',
      'content-length': Buffer.byteLength(body),
      ...(hook.body === undefined ? {} : { 'content-type': 'application/json' }),
    },
  });
  call.on('response', answer.resolve);
  call.on('error', answer.reject);
  call.end(body);
  return answer.promise;
}
