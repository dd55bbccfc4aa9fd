import { LullError } from '../domain/errors.ts';

/** What came of a guest that refused, broke off or broke the protocol. `code` is an errno's name or a word. */
export class GuestError extends LullError {
  readonly code: string;

  constructor(code: string, message: string, options: { cause?: unknown } = {}) {
    super('internal', message, options);
    this.code = code;
  }
}

/** What ends a session whose guest breaks the protocol. */
export const violation = (rule: string) => new GuestError('protocol', `the guest's agent broke a rule: ${rule}`);
