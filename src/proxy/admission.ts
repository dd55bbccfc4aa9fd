import type { Clock, EndpointClaims, EndpointTokens } from '../domain/ports.ts';
import type { ManagedConnector } from '../domain/ids.ts';
import type { Destinations } from './destinations.ts';
import { REFUSALS, RefusedError } from './refusal.ts';

/** Section 5.2. */
const DEFAULT_PORT = 8080;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const PORT = /^[1-9][0-9]{0,4}$/;
const MAX_PORT = 65_535;
/** Section 5.7: the connectors that let in what a token is for. */
const CONNECTORS: Readonly<Record<EndpointClaims['purpose'], readonly ManagedConnector[]>> = {
  http: ['HTTP_INGRESS', 'ALL_INGRESS'],
  shell: ['SHELL_INGRESS', 'ALL_INGRESS'],
};

/** Who asks for what, whatever the protocol. */
export interface Ask {
  /** The authority that the client addressed: `<uuid>.<domain>[:port]`. */
  readonly authority: string | undefined;
  readonly token: string | undefined;
  /** The wanted port as the client wrote it. */
  readonly port: string | undefined;
  /** The client offers to change to a WebSocket. */
  readonly isWebSocket: boolean;
}

/** What was admitted. */
export interface Admitted {
  readonly microvmId: string;
  /** Where to; undefined for a shell, which has none (section 6.2). */
  readonly port: number | undefined;
  readonly baselineMib: number;
}

/** The uuid of the endpoint that an authority names; undefined where it names none. */
export function endpointIdOf(authority: string | undefined, domain: string): string | undefined {
  const host = authority?.toLowerCase().replace(/:[0-9]*$/, '');
  if (host === undefined || !host.endsWith(`.${domain}`)) return undefined;
  const label = host.slice(0, -domain.length - 1);
  return UUID.test(label) ? label : undefined;
}

/**
 * Decides whether a request or stream may pass, at its start and once (section 5.5): the token opens, it is for the microVM
 * of this host name, it has not expired, a connector lets it in, and it covers the port.
 * @throws RefusedError with the answer of section 5.5
 */
export async function admit(
  ask: Ask,
  gate: { destinations: Destinations; tokens: EndpointTokens; clock: Clock; domain: string },
): Promise<Admitted> {
  if (ask.token === undefined) throw new RefusedError(REFUSALS.unauthenticated, 'no token');
  const claims = await gate.tokens.open(ask.token);
  if (claims === undefined) throw new RefusedError(REFUSALS.unauthenticated, 'the token cannot be opened');
  const endpointId = endpointIdOf(ask.authority, gate.domain);
  const destination = endpointId === undefined ? undefined : await gate.destinations.lookup(endpointId);
  if (destination === undefined) throw new RefusedError(REFUSALS.notYours, 'no microVM has this host name');
  if (claims.microvmId !== destination.microvmId) throw new RefusedError(REFUSALS.notYours, 'the token is for another microVM');
  if (claims.expiresAtMs <= gate.clock.nowMs()) throw new RefusedError(REFUSALS.notYours, 'the token has expired');
  const port = portOf(ask.port);
  if (port === undefined) throw new RefusedError(REFUSALS.malformed, 'the port is not one');
  const { purpose } = claims;
  const { microvmId, baselineMib, ingress } = destination;
  // Section 6.2: recorded for a shell token on plain HTTPS.
  if (purpose === 'shell' && !ask.isWebSocket) throw new RefusedError(REFUSALS.unreachable, 'a shell token opens no port');
  if (!ingress.some((connector) => CONNECTORS[purpose].includes(connector))) {
    throw new RefusedError(REFUSALS.portDenied, `no ingress connector lets ${purpose} in`);
  }
  if (purpose === 'shell') return { microvmId, baselineMib, port: undefined };
  if (!covers(claims, port)) throw new RefusedError(REFUSALS.portDenied, 'the token does not cover the port');
  return { microvmId, baselineMib, port };
}

const covers = (claims: EndpointClaims, port: number) => claims.ports.some(({ from, to }) => from <= port && port <= to);

function portOf(text: string | undefined): number | undefined {
  if (text === undefined) return DEFAULT_PORT;
  return PORT.test(text) && Number(text) <= MAX_PORT ? Number(text) : undefined;
}
