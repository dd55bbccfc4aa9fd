/** One call of a lifecycle hook: HTTP/1.1 POST, from 127.0.0.1 in the guest (contract reference, section 4). */
import { request } from 'node:http';
import type { Duplex } from 'node:stream';
import { DeadlineError, within } from '../lib/deadline.ts';

export interface HookCall {
  readonly port: number;
  readonly path: string;
  readonly body?: string;
  readonly timeoutMs: number;
}

/** @param dial opens the stream to the hook's port @returns the status, or why there is none */
export async function postHook(dial: () => Promise<Duplex>, hook: HookCall): Promise<number | 'timeout' | 'refused'> {
  const abort = new AbortController();
  try {
    return await within(hook.path, hook.timeoutMs, post(dial, hook, abort.signal));
  } catch (error) {
    return error instanceof DeadlineError ? 'timeout' : 'refused';
  } finally {
    abort.abort();
  }
}

async function post(dial: () => Promise<Duplex>, hook: HookCall, signal: AbortSignal): Promise<number> {
  const stream = await dial();
  const answer = Promise.withResolvers<number>();
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
  call.on('response', (response) => {
    response.resume();
    answer.resolve(response.statusCode ?? 0);
  });
  call.on('error', answer.reject);
  call.end(body);
  return answer.promise;
}
