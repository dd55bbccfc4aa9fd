/** What messages of HTTP/1.1 are made of (RFC 9112, sections 2 to 5 and 7.1). Strict: whatever two readers may read in two ways is refused. */
import type { Fields } from './headers.ts';

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;
const TARGET = /^[\x21-\x7e\x80-\xff]+$/;
const SPACE = 0x20;
const TAB = 0x09;

/** Bytes that are no message of HTTP/1.1. */
export class SyntaxFault extends Error {
  override readonly name = 'SyntaxFault';
}

/** Section 3. @throws SyntaxFault where it would not be one line of three parts */
export function requestLine(method: string, target: string): string {
  if (!TOKEN.test(method) || !TARGET.test(target)) throw new SyntaxFault('a request line that cannot be written');
  return `${method} ${target} HTTP/1.1\r\n`;
}

/** Lines of fields, each with its end (section 5). @throws SyntaxFault where one would not be a line */
export function fieldLines(fields: Fields): string {
  let lines = '';
  for (let at = 0; at + 1 < fields.length; at += 2) {
    const [name, value] = [fields[at]!, fields[at + 1]!];
    if (!TOKEN.test(name) || !VALUE.test(value)) throw new SyntaxFault('a field that cannot be written');
    lines += `${name}: ${value}\r\n`;
  }
  return lines;
}

/** Reads lines of fields (section 5), from one line on. @throws SyntaxFault */
export function parseFields(lines: readonly string[], from: number): string[] {
  const fields: string[] = [];
  for (let at = from; at < lines.length; at += 1) {
    const line = lines[at]!;
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(0, colon));
    // No whitespace before the colon (5.1), and no line that goes on (obs-fold, 5.2).
    if (!TOKEN.test(name)) throw new SyntaxFault('a line that is no field');
    const value = withoutSpace(line, colon + 1);
    if (!VALUE.test(value)) throw new SyntaxFault('a field with a forbidden character');
    fields.push(name, value);
  }
  return fields;
}

/** What stands between optional whitespace (RFC 9110, 5.6.3), for which `String.trim` takes more than that. */
function withoutSpace(line: string, from: number): string {
  const isSpace = (at: number) => line.charCodeAt(at) === SPACE || line.charCodeAt(at) === TAB;
  let [start, end] = [from, line.length];
  while (start < end && isSpace(start)) start += 1;
  while (end > start && isSpace(end - 1)) end -= 1;
  return line.slice(start, end);
}

/** Text up to a terminator, in however many pieces it comes. */
export class TextUntil {
  readonly #terminator: string;
  readonly #limit: number;
  #text: string;
  /** Its last characters, in which the terminator may have begun. */
  #tail: string;

  /** @param limit characters; @param begun what is there of it already, less than the terminator */
  constructor(terminator: string, limit: number, begun = '') {
    this.#terminator = terminator;
    this.#limit = limit;
    this.#text = this.#tail = begun;
  }

  /**
   * @returns the text without its terminator and where to read on; undefined where more must come
   * @throws SyntaxFault where it is too long
   */
  take(bytes: Buffer, from: number): { readonly text: string; readonly next: number } | undefined {
    const { length } = this.#terminator;
    const most = this.#limit + length;
    if (this.#text === '') {
      // Nearly always all of it is there.
      const end = bytes.indexOf(this.#terminator, from, 'latin1');
      if (end >= 0 && end - from <= this.#limit) return { text: bytes.toString('latin1', from, end), next: end + length };
    }
    const piece = bytes.toString('latin1', from, Math.min(bytes.length, from + most));
    const searched = this.#tail + piece;
    const found = searched.indexOf(this.#terminator);
    this.#text += piece;
    const unread = found < 0 ? 0 : searched.length - found - length;
    if (this.#text.length - unread > most || (found < 0 && this.#text.length >= most)) throw new SyntaxFault('too long');
    this.#tail = searched.slice(1 - length);
    if (found < 0) return undefined;
    return { text: this.#text.slice(0, this.#text.length - unread - length), next: from + piece.length - unread };
  }
}
