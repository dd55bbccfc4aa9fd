/** A runtime and a builder that agree to everything and run nothing: what is left is the control plane. */
import { PassThrough } from 'node:stream';
import type { ProcessIdentity } from '../domain/microvm.ts';
import type { ImageBuilder, MicrovmRuntime } from '../domain/ports.ts';

const PROCESS: ProcessIdentity = { pid: 1, startTicks: 1, bootId: 'none' };

export const NO_RUNTIME: MicrovmRuntime = {
  prepareLaunch: async () => PROCESS,
  prepareWake: async () => PROCESS,
  continue: async () => [],
  reconnect: async () => {},
  saveGeneration: async () => ({ bytesWritten: 0, pages: 0, zeroPages: 0, steps: [] }),
  undoSuspend: async () => {},
  release: async () => {},
  abandonPrepared: async () => {},
  destroy: async () => {},
  // A sleeper has no process; one that runs is still there.
  adopt: async () => true,
  verifyGeneration: async () => true,
  untouchedSince: async () => true,
  dial: async () => new PassThrough(),
  openShell: async () => ({ stream: new PassThrough(), resize: async () => {} }),
  callHook: async () => 200,
  async *logs() {},
  sweep: async () => [],
  diskFault: () => undefined,
  diskStops: () => 0,
  goOn: async () => {},
  holds: () => true,
  present: async () => [],
  tidy: async () => [],
  detach: async () => {},
};

export const NO_BUILDER: ImageBuilder = {
  build: () => Promise.reject(new Error('nothing is built here')),
  async *events() {},
  remove: async () => {},
  present: async () => [],
  tidy: async () => [],
};
