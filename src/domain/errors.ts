/**
 * The closed list of ways in which Lull refuses or fails. Every error that may reach a user is a {@link LullError} of one
 * of these kinds; anything else is a defect and is shown as `internal` without its details. The HTTP surfaces map a kind to
 * their own error type and status (`src/contract`), the command line to an exit status.
 */
export const ERROR_KINDS = {
  validation: 'the request cannot be accepted as it stands',
  'access-denied': 'the caller may not do this',
  'not-found': 'the named thing does not exist',
  conflict: 'the thing is busy with, or already used for, something else',
  'quota-exceeded': 'a limit set for this installation has been reached',
  'insufficient-capacity': 'the host cannot hold more right now',
  throttled: 'too many calls in too short a time',
  internal: 'Lull failed; the log has the cause',
} as const;

export type ErrorKind = keyof typeof ERROR_KINDS;

/** What an error is about, where a client may want to know. */
export interface ErrorSubject {
  readonly resourceType: string;
  readonly resourceId: string;
}

/** An error that may be shown to the user: `message` is one clear line, `cause` stays in the log. */
export class LullError extends Error {
  override readonly name = 'LullError';
  readonly kind: ErrorKind;
  readonly subject: ErrorSubject | undefined;
  /** AWS's name for it, where the service in question has several for one kind (`DeleteConflict` beside `EntityAlreadyExists`). */
  readonly awsCode: string | undefined;
  /** Of the quota that was reached (`src/domain/quotas.ts`). */
  readonly quotaCode: string | undefined;

  constructor(
    kind: ErrorKind,
    message: string,
    options: { cause?: unknown; subject?: ErrorSubject; awsCode?: string; quotaCode?: string } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kind = kind;
    this.subject = options.subject;
    this.awsCode = options.awsCode;
    this.quotaCode = options.quotaCode;
  }
}

/** True for a {@link LullError} of the given kind (of any kind without one). */
export function isLullError(error: unknown, kind?: ErrorKind): error is LullError {
  return error instanceof LullError && (kind === undefined || error.kind === kind);
}
