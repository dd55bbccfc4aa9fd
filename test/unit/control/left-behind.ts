/** What a server or a failed step may leave of a microVM, and what has to become of it: ARCHITECTURE.md, "At a start". */
import type { MicrovmState } from '../../../src/domain/microvm.ts';

export interface LeftBehind {
  readonly left: MicrovmState;
  /** Its process is there. */
  readonly alive: boolean;
  /** Its newest generation is; true where left out. */
  readonly complete?: boolean;
  /** Its disk is still that of the generation; true where left out. */
  readonly untouched?: boolean;
  readonly becomes: MicrovmState;
}

export const LEFT_BEHIND: readonly LeftBehind[] = [
  { left: 'PENDING', alive: false, becomes: 'RUNNING' },
  { left: 'RUNNING', alive: true, becomes: 'RUNNING' },
  { left: 'RUNNING', alive: false, becomes: 'TERMINATED' },
  { left: 'SUSPENDING', alive: true, becomes: 'RUNNING' },
  { left: 'SUSPENDING', alive: false, complete: true, becomes: 'SUSPENDED' },
  { left: 'SUSPENDING', alive: false, complete: false, becomes: 'TERMINATED' },
  { left: 'SUSPENDED', alive: true, becomes: 'SUSPENDED' },
  { left: 'SUSPENDED', alive: false, becomes: 'SUSPENDED' },
  { left: 'WAKING', alive: true, becomes: 'RUNNING' },
  { left: 'WAKING', alive: false, untouched: true, becomes: 'SUSPENDED' },
  { left: 'WAKING', alive: false, untouched: false, becomes: 'TERMINATED' },
  { left: 'TERMINATING', alive: true, becomes: 'TERMINATED' },
];

/** What the runtime says of it. */
export const answersOf = ({ alive, complete = true, untouched = true }: LeftBehind) => ({ alive, complete, untouched });

/** The same in words, for the name of a test. */
export function factsOf(found: LeftBehind): string {
  const { alive, complete, untouched } = answersOf(found);
  return `process ${alive ? 'there' : 'gone'}, generation ${complete ? 'complete' : 'not'}, disk ${untouched ? 'untouched' : 'moved on'}`;
}
