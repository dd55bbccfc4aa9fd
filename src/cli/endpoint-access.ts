/** Requests to a microVM's endpoint as its owner: with a fresh token, our CA, and without looking its name up. */
import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { caFiles } from '../client/data-folder.ts';
import { requestEndpoint } from '../client/endpoint.ts';
import { endpointTrust } from '../client/trust.ts';
import { AUTH_TOKEN_KEY } from '../contract/microvms.ts';
import { CommandFailure } from './command-line.ts';
import type { Installation } from './installation.ts';
import { endOf } from './microvm-end.ts';

const TOKEN_MINUTES = 5;
const LOOPBACK = '127.0.0.1';

/** A microVM's endpoint with a token for one port. */
export interface EndpointAccess {
  request(request: {
    method: string;
    path: string;
    headers: Readonly<Record<string, string | string[]>>;
    body: string | undefined;
    signal: AbortSignal;
  }): Promise<IncomingMessage>;
}

/** Mints a token. @param port of the application; the endpoint's default (8080) where undefined @throws CommandFailure where the microVM has ended */
export async function openEndpoint(installation: Installation, microvmIdentifier: string, port?: number): Promise<EndpointAccess> {
  const { client, folder, server } = installation;
  const microvm = await client.call('GetMicrovm', { microvmIdentifier });
  const end = endOf(microvm);
  if (end !== undefined) throw new CommandFailure(end);
  const allowedPorts = port === undefined ? [{ allPorts: {} }] : [{ port }];
  const { authToken } = await client.call('CreateMicrovmAuthToken', { microvmIdentifier, expirationInMinutes: TOKEN_MINUTES, allowedPorts });
  const token = authToken[AUTH_TOKEN_KEY];
  if (token === undefined) throw new CommandFailure('The server gave no token.');
  // The bundle holds the system's CAs too: an operator's own certificate is vouched for by one of those.
  const trust = endpointTrust(await readFile(caFiles(folder).bundle, 'utf8').catch(() => undefined));
  const connect = { host: LOOPBACK, port: server.endpointPort };
  return { request: (request) => requestEndpoint({ endpoint: microvm.endpoint, connect, trust, token, port, ...request }) };
}
