/** What may come of an operation on a microVM that is brought to grief. */

/** What comes to grief: the server, the VMM, both, a single call, or every write from one on. */
export type Kind = 'server' | 'vmm' | 'power' | 'errno' | 'full';

/** States that an operation may end in, with what `stateReason` then says. */
export type Outcomes = Readonly<Record<string, RegExp | null>>;

const ALIVE: Outcomes = { RUNNING: null, SUSPENDED: null };
const ENDED: Outcomes = { TERMINATED: /^Success\.$/ };
const VMM_DIED = /^The virtual machine's process ended unexpectedly while/;

export type OperationName = keyof typeof OUTCOMES;

export const OUTCOMES = {
  launch: {
    server: { RUNNING: null },
    vmm: { RUNNING: null, TERMINATED: /^The MicroVM could not be launched \(restore\): |^The virtual machine's process ended/ },
    power: { RUNNING: null, TERMINATED: VMM_DIED },
    errno: { RUNNING: null, TERMINATED: /^The MicroVM could not be launched \(restore\): .*injected/ },
  },
  suspend: {
    server: ALIVE,
    vmm: { SUSPENDED: null, TERMINATED: /^The MicroVM could neither be suspended nor go on: |^The virtual machine's process ended/ },
    power: { SUSPENDED: null, TERMINATED: VMM_DIED },
    errno: ALIVE,
  },
  resume: {
    server: ALIVE,
    vmm: { ...ALIVE, TERMINATED: /^The MicroVM could not be resumed, and its disk had already moved on: |^The virtual machine's process ended/ },
    power: { SUSPENDED: null, TERMINATED: /^The MicroVM could not be resumed, and its disk had already moved on: |^The virtual machine's process ended/ },
    errno: ALIVE,
  },
  terminate: { server: ENDED, vmm: ENDED, power: ENDED, errno: { ...ENDED, RUNNING: null } },
  'terminate a sleeper': { server: ENDED, vmm: ENDED, power: ENDED, errno: { ...ENDED, SUSPENDED: null } },
} as const satisfies Readonly<Record<string, Readonly<Record<Exclude<Kind, 'full'>, Outcomes>>>>;
