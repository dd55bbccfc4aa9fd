/** What differs from AWS, or is not seen by the clients of the scenario, each with its reason: the right side of the compatibility page. */

export interface Difference {
  /** A key of the page: an operation, `OPERATION.input.MEMBER`, `OPERATION.output.MEMBER`, `OPERATION.errors.NAME`, `enum.NAME.VALUE`, `recorded.ID`. `*` stands for any operation. */
  readonly of: string;
  /** Whether the clients saw it: one that passes too quickly is `maybe`. */
  readonly seen: 'yes' | 'no' | 'maybe';
  readonly because: string;
}

const NEWER = 'newer than the contract that Lull follows (the models of September 2026): ignored when sent, not there in answers';
const KEPT = 'kept and shown, not used';

export const DIFFERENCES: readonly Difference[] = [
  // Operations.
  { of: 'SuspendMicrovm', seen: 'yes', because: 'answers when it is done, not when it has begun; one that is asked for while another change is under way waits for it' },
  // Members.
  { of: '*.input.kmsKeyIdentifier', seen: 'no', because: NEWER },
  { of: '*.output.kmsKeyIdentifier', seen: 'no', because: NEWER },
];
void KEPT;
