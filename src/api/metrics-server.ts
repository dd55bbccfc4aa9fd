/** The metrics on a listener of their own: whoever reaches it reaches nothing else. */
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import { EXTENSIONS, METRICS_MEDIA_TYPE } from '../contract/extensions.ts';
import type { ServerUseCases } from '../control/control-plane.ts';
import type { Log } from '../lib/log.ts';
import { TLS_TERMS } from '../lib/tls-terms.ts';
import { mayReadMetrics, METRICS_REFUSAL } from './metrics-access.ts';

/** A scraper keeps one connection; a few may try. */
const MAX_CONNECTIONS = 64;
const REQUEST_LIMIT_MS = 10_000;
/** `/metrics` is where Prometheus looks unless told. */
const PATHS: readonly string[] = ['/metrics', EXTENSIONS.metrics.path];

export interface MetricsServerParts {
  readonly control: { readonly server: Pick<ServerUseCases, 'metrics'> };
  readonly token: (() => string) | undefined;
  /** PEM; plain HTTP where left out. */
  readonly tls: { readonly cert: Buffer; readonly key: Buffer } | undefined;
  readonly log: Log;
}

/** Ends a server, whoever is connected. */
export async function closeMetrics(server: Server): Promise<void> {
  if (!server.listening) return;
  server.close();
  server.closeAllConnections();
  await once(server, 'close');
}

export function createMetricsServer({ control, token, tls, log }: MetricsServerParts): Server {
  const listener: RequestListener = (request, response) => {
    const answer = (status: number, text: string, headers: Readonly<Record<string, string>> = {}) => {
      request.resume();
      response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'cache-control': 'no-store', ...headers }).end(text);
    };
    const isKnown = PATHS.includes(request.url?.split('?')[0] ?? '');
    if (!mayReadMetrics(request, token?.())) return answer(403, `${METRICS_REFUSAL}\n`);
    if (!isKnown) return answer(404, `Metrics are at ${PATHS[0]}.\n`);
    if (request.method !== 'GET' && request.method !== 'HEAD') return answer(405, '', { allow: 'GET, HEAD' });
    control.server.metrics().then(
      (text) => answer(200, text, { 'content-type': METRICS_MEDIA_TYPE }),
      (error: unknown) => {
        log.error({ err: error }, 'the metrics could not be read');
        answer(500, '');
      },
    );
  };
  const limits = { headersTimeout: REQUEST_LIMIT_MS, requestTimeout: REQUEST_LIMIT_MS, maxHeaderSize: 16 * 1024 };
  const server = tls === undefined ? createServer(limits, listener) : createTlsServer({ ...limits, ...TLS_TERMS, ...tls }, listener);
  server.maxConnections = MAX_CONNECTIONS;
  return server;
}
