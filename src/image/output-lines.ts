/** Bytes of a program's output to lines that are safe to keep and to show. */

/** A longer line is cut in pieces of this many characters. */
const MAX_LINE_CHARS = 4096;

/** Turns chunks into lines: invalid UTF-8 becomes U+FFFD, control characters go (they would steer the reader's terminal). */
export class OutputLines {
  readonly #decoder = new TextDecoder();
  readonly #onLine: (text: string) => void;
  #rest = '';

  constructor(onLine: (text: string) => void) {
    this.#onLine = onLine;
  }

  write(chunk: Buffer): void {
    const parts = (this.#rest + this.#decoder.decode(chunk, { stream: true })).split(/\r?\n|\r(?!$)/);
    this.#rest = parts.pop() ?? '';
    for (const part of parts) this.#emit(part);
    while (this.#rest.length > MAX_LINE_CHARS) {
      this.#onLine(clean(this.#rest.slice(0, MAX_LINE_CHARS)));
      this.#rest = this.#rest.slice(MAX_LINE_CHARS);
    }
  }

  /** The last line, where it has no end. */
  end(): void {
    const rest = (this.#rest + this.#decoder.decode()).replace(/\r$/, '');
    this.#rest = '';
    if (rest !== '') this.#emit(rest);
  }

  #emit(line: string): void {
    for (let at = 0; at === 0 || at < line.length; at += MAX_LINE_CHARS) this.#onLine(clean(line.slice(at, at + MAX_LINE_CHARS)));
  }
}

/** ANSI sequences, then every other control character but the tab. */
const clean = (text: string): string => text.replaceAll(/\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07?/g, '').replaceAll(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, '');
