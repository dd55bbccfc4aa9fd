/** Lines of a stream of bytes, with where they are in it. */

/** A line without its end. */
export interface FileLine {
  readonly position: number;
  /** Where the next begins. */
  readonly next: number;
  readonly bytes: Buffer;
  /** False for the last bytes of a stream that does not end with a line's end. */
  readonly isEnded: boolean;
}

const LINE_END = 0x0a;

/**
 * Cuts chunks into lines, those of a chunk at once; a longer line than `maxBytes` comes in pieces, between characters of UTF-8.
 * @param options.position of the first byte
 * @param options.isInLine whether that may be in the midst of a line, which is passed over then
 */
export async function* linesOf(
  chunks: AsyncIterable<Buffer>,
  options: { position: number; maxBytes: number; isInLine?: boolean },
): AsyncGenerator<readonly FileLine[]> {
  const { maxBytes } = options;
  let { position, isInLine = false } = options;
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of chunks) {
    const lines: FileLine[] = [];
    let at = 0;
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    if (isInLine) {
      const end = rest.indexOf(LINE_END);
      isInLine = end === -1;
      at = isInLine ? rest.length : end + 1;
    }
    for (;;) {
      const end = rest.indexOf(LINE_END, at);
      const isEnded = end !== -1 && end - at <= maxBytes;
      if (!isEnded && rest.length - at <= maxBytes) break;
      const to = isEnded ? end : at + wholeCharacters(rest.subarray(at), maxBytes);
      const next = isEnded ? to + 1 : to;
      lines.push({ position: position + at, next: position + next, bytes: rest.subarray(at, to), isEnded: true });
      at = next;
    }
    position += at;
    rest = rest.subarray(at);
    yield lines;
  }
  if (rest.length > 0) yield [{ position, next: position + rest.length, bytes: rest, isEnded: false }];
}

/** How many of the first `limit` bytes there are before a character that they would cut. */
function wholeCharacters(bytes: Buffer, limit: number): number {
  const isContinuation = (at: number) => (bytes[at]! & 0xc0) === 0x80;
  for (let cut = limit; cut > limit - 4; cut -= 1) if (!isContinuation(cut)) return cut;
  return limit;
}

/** The bytes `[from, to)` of a file. */
export async function* bytesOf(
  file: { read(buffer: Buffer, offset: number, length: number, position: number): Promise<{ bytesRead: number }> },
  { from, to, readBytes }: { from: number; to: number; readBytes: number },
): AsyncGenerator<Buffer> {
  for (let at = from; at < to; ) {
    const buffer = Buffer.allocUnsafe(Math.min(readBytes, to - at));
    const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}
