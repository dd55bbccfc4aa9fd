/** A {@link Driver} of which every order that changes something is an effect, whatever the hypervisor. */
import { effect, type Effects } from '../lib/effects.ts';
import type { Driver, Drivers, Machine, MachineSpec } from './driver.ts';

/** The same drivers, each {@link withEffects}. */
export function driversWithEffects(drivers: Drivers, effects: Effects): Drivers {
  return { current: withEffects(drivers.current, effects), withVmm: async (vmmId) => withEffects(await drivers.withVmm(vmmId), effects) };
}

/** The same driver; its machines' orders are effects named `vmm`. */
function withEffects(driver: Driver, effects: Effects): Driver {
  const vmm = orders(effects);
  return {
    ...driver,
    boot: (spec) => vmm('boot', async () => machineWithEffects(await driver.boot(spec), effects)),
    prepare: (spec) => vmm('prepare', async () => machineWithEffects(await driver.prepare(spec), effects)),
    adopt: async (spec: MachineSpec, identity) => {
      const machine = await driver.adopt(spec, identity);
      return machine && machineWithEffects(machine, effects);
    },
  };
}

const orders =
  (effects: Effects) =>
  <T>(order: string, act: () => Promise<T>): Promise<T> =>
    effect(effects, { kind: 'vmm', subject: order }, act);

function machineWithEffects(machine: Machine, effects: Effects): Machine {
  const vmm = orders(effects);
  return {
    identity: machine.identity,
    exited: machine.exited,
    get diskFault() {
      return machine.diskFault;
    },
    onDiskFault: (listener) => machine.onDiskFault(listener),
    mappings: () => machine.mappings(),
    loadDeviceState: () => vmm('load device state', () => machine.loadDeviceState()),
    saveDeviceState: (path) => effect(effects, { kind: 'write', subject: path }, () => machine.saveDeviceState(path)),
    receiveQueues: () => machine.receiveQueues(),
    pause: () => vmm('pause', () => machine.pause()),
    resume: () => vmm('resume', () => machine.resume()),
    dial: async () => {
      const channel = await vmm('dial', () => machine.dial());
      // A machine may die before its agent is greeted: nobody listens yet, and the greeting finds the channel closed.
      return channel.on('error', () => undefined);
    },
    hungUp: () => vmm('hang up', () => machine.hungUp()),
    kill: () => vmm('kill', () => machine.kill()),
    detach: () => machine.detach(),
  };
}
