/** Subprotocols by which a browser, whose WebSockets have no headers of their own, says who it is and where it wants to (section 5.3). */
import { valueOf, valuesOf, without, type Fields } from './headers.ts';

const SUBPROTOCOLS = 'sec-websocket-protocol';
/** Who offers it knows us, and is answered with it where nobody selects another. */
export const MARKER = 'lambda-microvms';
const AUTHENTICATION = `${MARKER}.authentication.`;
const PORT = `${MARKER}.port.`;

/** What a client offers of our subprotocols. Two of a kind contradict each other: joined, they are neither a token nor a port. */
export interface Offered {
  /** Without the marker, the others say nothing. */
  readonly isMarked: boolean;
  readonly token: string | undefined;
  readonly port: string | undefined;
}

const offeredBy = (fields: Fields) =>
  valuesOf(fields, SUBPROTOCOLS)
    .flatMap((value) => value.split(','))
    .map((name) => name.trim());

const isOurs = (name: string) => name === MARKER || name.startsWith(AUTHENTICATION) || name.startsWith(PORT);

/** Our subprotocols in a request. */
export function ourSubprotocols(fields: Fields): Offered {
  const offered = offeredBy(fields);
  const after = (prefix: string) => {
    const values = offered.filter((name) => name.startsWith(prefix)).map((name) => name.slice(prefix.length));
    return values.length === 0 ? undefined : values.join(', ');
  };
  return { isMarked: offered.includes(MARKER), token: after(AUTHENTICATION), port: after(PORT) };
}

/** The request's fields without our subprotocols: the application sees the others, above all not the token. */
export function withoutOurs(fields: Fields): Fields {
  const offered = offeredBy(fields);
  if (!offered.some(isOurs)) return fields;
  const others = offered.filter((name) => !isOurs(name));
  const rest = without(fields, SUBPROTOCOLS);
  return others.length === 0 ? rest : [...rest, 'Sec-WebSocket-Protocol', others.join(', ')];
}

/** The fields of an agreed handshake: a client that gave the marker gets it back where the application selected nothing. */
export function withSelection(answer: Fields, request: Fields): Fields {
  const isOpen = valueOf(answer, SUBPROTOCOLS) === undefined && ourSubprotocols(request).isMarked;
  return isOpen ? [...answer, 'Sec-WebSocket-Protocol', MARKER] : answer;
}
