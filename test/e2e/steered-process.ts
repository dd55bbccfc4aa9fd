/** A server as `lull up` starts it, whose effects and time are in the hands of the test that started this process. */
import { realpathSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { startServer } from '../../src/main/server.ts';
import { parseServerOptions } from '../../src/main/options.ts';
import { probeKvm } from '../../src/setup/kvm-probe.ts';
import { loadPlatform } from '../../src/setup/platform.ts';
import { answerCalls } from '../faults/calls.ts';
import { FaultPort, type Done, type Fault } from '../faults/fault-port.ts';
import { MovedClock } from '../faults/moved-clock.ts';

/** What the test may ask. */
export interface Steering {
  /** Counts steps anew from here on, and brings one of them to grief. */
  begin(fault: Fault | null): void;
  /** Steps since the last `begin`, and whether the fault was met. */
  traced(): { done: Done[]; wasHit: boolean };
  moveClock(byMs: number): void;
}

const { values } = parseArgs({
  allowPositionals: true,
  options: { data: { type: 'string' }, runtime: { type: 'string' }, listen: { type: 'string' }, 'endpoint-listen': { type: 'string' }, fault: { type: 'string' } },
});
const { data, runtime, listen, fault } = values;
const options = parseServerOptions({ data, runtime, listen, endpointListen: [values['endpoint-listen']!] }, { env: process.env, uid: process.getuid!() });
const done: Done[] = [];
const effects = new FaultPort({ folders: [data!, runtime!, options.platformFolder], runtimeFolder: realpathSync(runtime!), onDone: (step) => done.push(step) });
if (fault !== undefined) effects.begin(JSON.parse(fault) as Fault);
const clock = new MovedClock();
const steering: Steering = {
  begin: (next) => {
    done.length = 0;
    effects.begin(next ?? undefined);
  },
  traced: () => ({ done: [...done], wasHit: effects.wasHit }),
  moveClock: (byMs) => clock.moveOn(byMs),
};
answerCalls(steering);

const kvmWorks = async () => (await probeKvm(options.platformFolder, await loadPlatform(options.platformFolder), AbortSignal.timeout(60_000))).works;
const server = await startServer(options, { logTo: process.stderr, kvmWorks, effects, clock });
process.once('SIGTERM', () => void server.stop().then(() => process.exit()));
process.stderr.write(`lull: serving ${server.apiUrl}\n`);
