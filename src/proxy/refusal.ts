/** An answer of the data plane's own: plain text, no JSON, no error type (section 5.5). */
export interface Refusal {
  readonly status: 400 | 403 | 408 | 429 | 500 | 502;
  readonly text: string;
}

/** Section 5.5, word for word; where no text is recorded there is none. */
export const REFUSALS = {
  malformed: { status: 400, text: '' },
  /** No token, or none that can be opened. */
  unauthenticated: { status: 403, text: 'Request missing authentication' },
  /** Token of another microVM, wrong or unknown host name, token expired. */
  notYours: { status: 403, text: 'Token authentication failed' },
  portDenied: { status: 403, text: 'Access to port denied' },
  /** The request did not arrive in time (RFC 9110, 15.5.9). */
  tooSlow: { status: 408, text: '' },
  tooMany: { status: 429, text: '' },
  fault: { status: 500, text: '' },
  /** Nothing listens, the application died, or the microVM sleeps and may not be woken. */
  unreachable: { status: 502, text: '' },
} as const satisfies Record<string, Refusal>;

export type RefusalName = keyof typeof REFUSALS;

const NAMES = new Map<Refusal, RefusalName>(Object.entries(REFUSALS).map(([name, refusal]) => [refusal, name as RefusalName]));

/** What a refusal is called where it is counted. */
export const nameOf = (refusal: Refusal): RefusalName => NAMES.get(refusal) ?? 'fault';

/** A request that the data plane refuses, on its way to the one place that answers. */
export class RefusedError extends Error {
  override readonly name = 'RefusedError';
  readonly refusal: Refusal;

  /** @param reason for the log only */
  constructor(refusal: Refusal, reason: string, cause?: unknown) {
    super(reason, cause === undefined ? undefined : { cause });
    this.refusal = refusal;
  }
}
