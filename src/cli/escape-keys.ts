const NEWLINES = new Set(['\r', '\n'].map((key) => key.charCodeAt(0)));
const TILDE = '~'.charCodeAt(0);
const DOT = '.'.charCodeAt(0);

/** Finds the keys that leave a session from this side: Enter, `~`, `.`; a second `~` types one, as with ssh(1). */
export class EscapeKeys {
  #state: 'line start' | 'after tilde' | 'within line' = 'line start';

  /** @returns what is to be typed, or that the session is to be left; a `~` at the start of a line is held until the next key */
  pass(bytes: Buffer): Buffer | 'leave' {
    const typed: number[] = [];
    for (const key of bytes) {
      if (this.#state === 'after tilde' && key === DOT) return 'leave';
      if (this.#state === 'line start' && key === TILDE) {
        this.#state = 'after tilde';
        continue;
      }
      if (this.#state === 'after tilde' && key !== TILDE) typed.push(TILDE);
      typed.push(key);
      this.#state = NEWLINES.has(key) ? 'line start' : 'within line';
    }
    return Buffer.from(typed);
  }
}
