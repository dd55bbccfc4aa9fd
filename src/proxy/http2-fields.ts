/** Header fields and ends of streams as Node's HTTP/2 gives and takes them (RFC 9113, 8.1 to 8.3). */
import type { Http2Stream, OutgoingHttpHeaders } from 'node:http2';
import type { Fields } from './headers.ts';

/** The pseudo-header fields by name, which come first, and the others. */
export function splitPseudo(raw: Fields): { readonly pseudo: ReadonlyMap<string, string>; readonly fields: Fields } {
  const pseudo = new Map<string, string>();
  let at = 0;
  for (; raw[at]?.startsWith(':'); at += 2) pseudo.set(raw[at]!, raw[at + 1]!);
  return { pseudo, fields: raw.slice(at) };
}

/** As Node takes interim answers and trailers: it has no list for them. */
export function headersObject(fields: Fields): OutgoingHttpHeaders {
  // A field may have the name of what every object has.
  const byName = Object.create(null) as Record<string, string[]>;
  for (let at = 0; at + 1 < fields.length; at += 2) (byName[fields[at]!.toLowerCase()] ??= []).push(fields[at + 1]!);
  return byName;
}

/** Sends trailers when they are wanted; ones that Node does not take break the stream, not the process. */
export function sendTrailers(stream: Http2Stream, fields: Fields): void {
  try {
    stream.sendTrailers(headersObject(fields));
  } catch (error) {
    stream.destroy(error as Error);
  }
}

/**
 * Watches for the end of what the other side sends. Node ends a stream that was reset without an error as well; that one counts
 * as closed by then. To be called before anything of the body is there.
 * @returns whether it has come
 */
export function watchEnd(stream: Http2Stream): () => boolean {
  let hasEnded = stream.endAfterHeaders;
  const push = stream.push.bind(stream);
  stream.push = (chunk: unknown, encoding?: BufferEncoding) => {
    hasEnded ||= chunk === null && !stream.closed;
    return push(chunk, encoding);
  };
  return () => hasEnded;
}
