/** Reads an application's answer from the bytes of HTTP/1.1: RFC 9112, sections 4 and 6.3. */
import { membersOf, valuesOf, type Fields } from './headers.ts';
import { ChunkedBody, ClosedBody, LengthBody, type BodyReader } from './http1-body.ts';
import { parseFields, SyntaxFault, TextUntil } from './http1-syntax.ts';

/** Section 4. Many leave out the space before an empty reason. */
const STATUS_LINE = /^HTTP\/1\.([01]) ([1-9][0-9]{2})(?: ([\t\x20-\x7e\x80-\xff]*))?$/;
const LENGTH = /^[0-9]{1,15}$/;
const SWITCHING = 101;
/** The last status of an interim answer (RFC 9110, 15.2). */
const LAST_INTERIM = 199;
/** Answers without a body, whatever they say of one (RFC 9112, 6.3, rule 1). */
const BODILESS_STATUSES = new Set([204, 304]);

/** The head of an answer. */
export interface Http1Head {
  readonly status: number;
  readonly message: string;
  readonly fields: Fields;
  /** Neither body nor trailers follow. */
  readonly isEmpty: boolean;
}

/** What is told of an answer as it is read. */
export interface AnswerListener {
  interim(head: Http1Head): void;
  /** Its final head. */
  answer(head: Http1Head): void;
  data(piece: Buffer): void;
  /** All of it is there. `isLast`: no other one can follow on this connection. */
  complete(isLast: boolean): void;
  /** From here on the connection speaks another protocol. */
  switched(head: Http1Head, early: Buffer): void;
}

/** To what an answer is expected. */
export interface Expected {
  readonly method: string;
  /** The request asks for another protocol. */
  readonly isUpgrade: boolean;
  /** Of a head, and of trailers. */
  readonly headerBytes: number;
}

/** Reads one answer, with the interim ones before it. */
export class AnswerReader {
  readonly #expected: Expected;
  readonly #listener: AnswerListener;
  #head: TextUntil;
  #body: BodyReader | undefined;
  #isPersistent = false;
  #isStopped = false;

  constructor(expected: Expected, listener: AnswerListener) {
    this.#expected = expected;
    this.#listener = listener;
    this.#head = headText(expected);
  }

  /** Of an answer whose body has ended. */
  get trailers(): Fields {
    return this.#body?.trailers ?? [];
  }

  /** Nothing more of it is wanted. */
  stop(): void {
    this.#isStopped = true;
  }

  /** Reads on. @throws SyntaxFault */
  take(bytes: Buffer): void {
    let at = 0;
    while (!this.#isStopped) {
      at = this.#body === undefined ? this.#takeHead(bytes, at) : this.#body.take(bytes, at, this.#onData);
      if (this.#body?.isComplete === true) {
        this.stop();
        // What comes behind an answer answers nothing (RFC 9112, 9.3).
        return this.#listener.complete(!this.#isPersistent || at < bytes.length);
      }
      if (at === bytes.length) return;
    }
  }

  /** The application has ended its side. @returns whether that completes the answer */
  end(): boolean {
    if (this.#isStopped || !(this.#body instanceof ClosedBody)) return false;
    this.stop();
    this.#listener.complete(true);
    return true;
  }

  readonly #onData = (piece: Buffer) => {
    if (!this.#isStopped) this.#listener.data(piece);
  };

  #takeHead(bytes: Buffer, from: number): number {
    const read = this.#head.take(bytes, from);
    if (read === undefined) return bytes.length;
    const lines = read.text.split('\r\n');
    const [, minor, digits, message = ''] = STATUS_LINE.exec(lines[0]!) ?? [];
    if (digits === undefined) throw new SyntaxFault('no status line');
    const status = Number(digits);
    const fields = parseFields(lines, 1);
    const head = { status, message, fields };
    if (status === SWITCHING) {
      this.stop();
      if (!this.#expected.isUpgrade || !isSwitch(fields)) throw new SyntaxFault('101 without Upgrade');
      this.#listener.switched({ ...head, isEmpty: true }, bytes.subarray(read.next));
    } else if (status <= LAST_INTERIM) {
      this.#head = headText(this.#expected);
      this.#listener.interim({ ...head, isEmpty: true });
    } else {
      this.#body = bodyOf(head, this.#expected);
      this.#isPersistent = minor === '1' && !(this.#body instanceof ClosedBody) && !membersOf(fields, 'connection').includes('close');
      this.#listener.answer({ ...head, isEmpty: this.#body.isComplete });
    }
    return read.next;
  }
}

const headText = ({ headerBytes }: Expected) => new TextUntil('\r\n\r\n', headerBytes);

/** Section 7.8 of RFC 9110. */
const isSwitch = (fields: Fields) => membersOf(fields, 'upgrade').length > 0 && membersOf(fields, 'connection').includes('upgrade');

/** How the body is delimited (RFC 9112, 6.3). @throws SyntaxFault where that cannot be told */
function bodyOf({ status, fields }: { status: number; fields: Fields }, { method, headerBytes }: Expected): BodyReader {
  const codings = valuesOf(fields, 'transfer-encoding');
  const lengths = valuesOf(fields, 'content-length');
  if (codings.length > 0 && lengths.length > 0) throw new SyntaxFault('both a transfer coding and a length');
  // Without its coding the body would be another one (6.1).
  if (codings.length > 0 && (codings.length > 1 || codings[0]!.toLowerCase() !== 'chunked')) throw new SyntaxFault('unknown transfer coding');
  if (lengths.length > 1 || (lengths.length > 0 && !LENGTH.test(lengths[0]!))) throw new SyntaxFault('no length');
  if (method === 'HEAD' || BODILESS_STATUSES.has(status)) return new LengthBody(0);
  if (codings.length > 0) return new ChunkedBody(headerBytes);
  return lengths.length > 0 ? new LengthBody(Number(lengths[0])) : new ClosedBody();
}
