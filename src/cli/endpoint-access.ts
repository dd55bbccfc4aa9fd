/** Requests to a microVM's endpoint as its owner: with a fresh token, our CA, and without looking its name up. */
import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { caFiles } from '../client/data-folder.ts';
import { requestEndpoint, type EndpointWay } from '../client/endpoint.ts';
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

/** Finds the endpoint. @throws CommandFailure where the microVM has ended */
export async function wayTo({ client, folder, server }: Installation, microvmIdentifier: string): Promise<EndpointWay> {
  const microvm = await client.call('GetMicrovm', { microvmIdentifier });
  const end = endOf(microvm);
  if (end !== undefined) throw new CommandFailure(end);
  // The bundle holds the system's CAs too: an operator's own certificate is vouched for by one of those.
  const trust = endpointTrust(await readFile(caFiles(folder).bundle, 'utf8').catch(() => undefined));
  return { endpoint: microvm.endpoint, connect: { host: LOOPBACK, port: server.endpointPort }, trust };
}

/** What an operation that makes tokens has made. @throws CommandFailure where that is none */
export function tokenOf({ authToken }: { readonly authToken: Readonly<Record<string, string>> }): string {
  const token = authToken[AUTH_TOKEN_KEY];
  if (token === undefined) throw new CommandFailure('The server gave no token.');
  return token;
}

/** Mints a token. @param port of the application; the endpoint's default (8080) where undefined @throws CommandFailure where the microVM has ended */
export async function openEndpoint(installation: Installation, microvmIdentifier: string, port?: number): Promise<EndpointAccess> {
  const way = await wayTo(installation, microvmIdentifier);
  const allowedPorts = port === undefined ? [{ allPorts: {} }] : [{ port }];
  const token = tokenOf(await installation.client.call('CreateMicrovmAuthToken', { microvmIdentifier, expirationInMinutes: TOKEN_MINUTES, allowedPorts }));
  return { request: (request) => requestEndpoint({ ...way, token, port, ...request }) };
}
