import { LullError } from '../domain/errors.ts';

/** More streams, or shells, than the agent carries at once (docs/agent-protocol.md): another time there may be a place. */
const TOO_MANY = 'EMFILE';

/** What came of a guest that refused, broke off or broke the protocol. `code` is an errno's name or a word. */
export class GuestError extends LullError {
  readonly code: string;

  constructor(code: string, message: string, options: { cause?: unknown } = {}) {
    super(code === TOO_MANY ? 'throttled' : 'internal', message, options);
    this.code = code;
  }
}

/** What ends a session whose guest breaks the protocol. */
export const violation = (rule: string) => new GuestError('protocol', `the guest's agent broke a rule: ${rule}`);
