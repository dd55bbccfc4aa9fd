/** What a real disk does not do on demand: an input or output error. QEMU's part is played by the test, in its own words. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { duplexPair, type Duplex } from 'node:stream';
import { describe, it } from 'node:test';
import { createInterface } from 'node:readline';
import { QemuMachine } from '../../../src/vmm/qemu/qemu-machine.ts';
import { QmpClient } from '../../../src/vmm/qemu/qmp.ts';

const SPEC = {
  ...{ guestMemoryMib: 1, vcpus: 1, memoryPath: '/memory', rootDiskPath: '/root', scratchPath: '/scratch', runDir: '/run' },
  network: { kind: 'none' },
} as const;
const IDENTITY = { pid: 1, startTicks: 1, bootId: 'boot' };

/** One that answers every command as `answers` say, and everything else with nothing. */
function qemu(answers: Readonly<Record<string, unknown>>): { qmp: QmpClient; say: (event: object) => void; control: Duplex } {
  const [control, stream] = duplexPair();
  const say = (message: object) => void control.write(`${JSON.stringify(message)}\n`);
  createInterface({ input: control }).on('line', (line) => {
    const { execute, id } = JSON.parse(line) as { execute: string; id: number };
    say({ return: answers[execute] ?? {}, id });
  });
  return { qmp: new QmpClient(stream), say, control };
}

const ioError = (data: object) => ({ event: 'BLOCK_IO_ERROR', data: { device: 'scratch', operation: 'write', ...data }, timestamp: { seconds: 1, microseconds: 1 } });

describe("QEMU's disk", () => {
  it('is told to be full, or to fail, when that has stopped the machine, once until it goes on', async () => {
    const { qmp, say } = qemu({ 'query-status': { status: 'running' } });
    const machine = await QemuMachine.adopted(IDENTITY, qmp, SPEC);
    assert.equal(machine.diskFault, undefined);
    const told: string[] = [];
    machine.onDiskFault((fault) => told.push(fault));
    say(ioError({ action: 'report', nospace: false, reason: 'Input/output error' }));
    say(ioError({ action: 'stop', nospace: false, reason: 'Input/output error' }));
    say(ioError({ action: 'stop', nospace: true, reason: 'No space left on device' }));
    await qmp.execute('query-status');
    assert.deepEqual([told, machine.diskFault], [['failed'], 'failed']);
    await machine.resume();
    assert.equal(machine.diskFault, undefined);
    say(ioError({ action: 'stop', nospace: true, reason: 'No space left on device' }));
    await qmp.execute('query-status');
    assert.deepEqual([told, machine.diskFault], [['failed', 'full'], 'full']);
    machine.detach();
  });

  for (const [status, fault] of [['nospace', 'full'], ['failed', 'failed']] as const) {
    it(`is found to be ${fault} where that stopped the machine while no server was there`, async () => {
      const { qmp, control } = qemu({ 'query-status': { status: 'io-error' }, 'query-block': [{ 'io-status': 'ok' }, { 'io-status': status }, {}] });
      const machine = await QemuMachine.adopted(IDENTITY, qmp, SPEC);
      assert.equal(machine.diskFault, fault);
      const closed = once(control, 'close');
      machine.detach();
      control.destroy();
      await closed;
    });
  }
});
