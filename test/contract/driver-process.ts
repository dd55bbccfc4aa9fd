/**
 * A process that restores a guest and greets it, as a server would, and then waits to be killed: for tests of what comes
 * after a server, and of networks that belong to a namespace of their own. Its argument is a {@link Task} as JSON; it says one
 * line, a {@link Report} as JSON.
 */
import type { ProcessIdentity } from '../../src/domain/microvm.ts';
import type { RestoreSpec } from '../../src/vmm/driver.ts';
import { greet, qemuDriver } from './driver-guest.ts';

export interface Task {
  readonly accelerator: 'kvm' | 'tcg';
  readonly spec: RestoreSpec;
  readonly secret: string;
  /** Ends the guest after the report. */
  readonly kill: boolean;
}

export interface Report {
  readonly identity: ProcessIdentity;
  readonly secret: string;
  readonly bootId: string;
  readonly counted: number;
}

const task = JSON.parse(process.argv[2]!) as Task;
const driver = await qemuDriver(task.accelerator);
const machine = await driver.prepare(task.spec);
await machine.loadDeviceState();
const guest = await greet(machine, { secret: task.secret, restored: true });
const counted = await guest.counted();
if (task.kill) await machine.kill();
const report: Report = { identity: machine.identity, secret: guest.secret, bootId: guest.welcome.bootId, counted };
process.stdout.write(`${JSON.stringify(report)}\n`);
if (!task.kill) process.stdin.resume();
else process.exit(0);
