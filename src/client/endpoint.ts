/** One HTTPS request to the endpoint of a microVM. */
import type { IncomingMessage } from 'node:http';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import type { ConnectionOptions, SecureContext } from 'node:tls';
import { AUTH_TOKEN_KEY } from '../contract/microvms.ts';
import { ServerUnreachable } from './transport.ts';

/** An endpoint as its owner reaches it. */
export interface EndpointWay {
  /** As in GetMicrovm: `<uuid>.microvm.localhost:8443`. */
  readonly endpoint: string;
  /** Where the server listens: the endpoint's name is not looked up. */
  readonly connect: { readonly host: string; readonly port: number };
  /** Whose certificates are taken: `endpointTrust`. */
  readonly trust: SecureContext;
}

export interface EndpointRequest extends EndpointWay {
  readonly token: string;
  /** Port of the application; the endpoint's default where undefined. */
  readonly port: number | undefined;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly body: string | undefined;
  readonly signal: AbortSignal;
}

/**
 * Sends a request and waits for the head of its answer, whatever its status.
 * The name is not looked up: the connection goes to `connect`, and the certificate is checked against the endpoint's name.
 * @throws ServerUnreachable where nobody answers or the certificate is another's
 */
export function requestEndpoint(request: EndpointRequest): Promise<IncomingMessage> {
  const name = request.endpoint.replace(/:\d+$/, '');
  // tls.connect takes it, which the types of node:https do not say.
  const options: RequestOptions & Pick<ConnectionOptions, 'secureContext'> = {
    host: request.connect.host,
    port: request.connect.port,
    servername: name,
    agent: false,
    method: request.method,
    path: request.path,
    signal: request.signal,
    headers: {
      ...request.headers,
      host: request.endpoint,
      [AUTH_TOKEN_KEY]: request.token,
      ...(request.port === undefined ? {} : { 'X-aws-proxy-port': String(request.port) }),
      ...(request.body === undefined ? {} : { 'content-length': String(Buffer.byteLength(request.body)) }),
    },
    secureContext: request.trust,
  };
  return new Promise((resolve, reject) => {
    const outgoing = httpsRequest(options);
    outgoing.once('response', resolve);
    outgoing.once('error', (cause: NodeJS.ErrnoException) => {
      const aborted = request.signal.aborted;
      reject(aborted ? cause : new ServerUnreachable(`https://${request.endpoint} does not answer: ${cause.message || cause.code}`, { cause }));
    });
    outgoing.end(request.body);
  });
}
