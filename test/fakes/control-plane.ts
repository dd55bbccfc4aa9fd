/** A control plane that records what it is asked and answers with records; any use-case can be told to fail or to answer otherwise. */
import type { ControlPlane, ManagedImage } from '../../src/control/control-plane.ts';
import { DEFAULT_REALM, managedImageArn } from '../../src/domain/ids.ts';
import { imageRecord, microvmRecord, versionRecord } from './records.ts';

/** One call: `microvms.run` and its arguments. */
export interface RecordedCall {
  readonly useCase: string;
  readonly args: readonly unknown[];
}

export interface FakeControlPlane extends ControlPlane {
  readonly calls: RecordedCall[];
  /** What a use-case does instead of its usual answer, by name (`microvms.get`). */
  readonly instead: Map<string, (...args: never[]) => unknown>;
}

export const MANAGED_IMAGE: ManagedImage = {
  imageArn: managedImageArn(DEFAULT_REALM, 'al2023-1'),
  createdAtMs: 1_781_654_400_000,
  versions: [
    { version: '1', createdAtMs: 1_784_592_000_000, status: 'AVAILABLE' },
    { version: '0', createdAtMs: 1_781_654_400_000, status: 'DEPRECATED' },
  ],
};

const DISK = { sizeBytes: 1000, availableBytes: 500, reservedBytes: 50 };

/** A fresh double with its usual answers. What is only kept and shown needs no double. */
export function fakeControlPlane(real: Pick<ControlPlane, 'roles' | 'logs' | 'connectors' | 'tags' | 'keys' | 'quotas'>): FakeControlPlane {
  const calls: RecordedCall[] = [];
  const instead = new Map<string, (...args: never[]) => unknown>();
  const recorded = <T extends object>(group: string, useCases: T): T =>
    new Proxy(useCases, {
      get(target, name) {
        const usual: unknown = Reflect.get(target, name);
        if (typeof usual !== 'function') return usual;
        return (...args: unknown[]): unknown => {
          const useCase = `${group}.${String(name)}`;
          calls.push({ useCase, args });
          return Reflect.apply(instead.get(useCase) ?? usual, target, args);
        };
      },
    });
  return {
    calls,
    instead,
    images: recorded('images', usualImages()),
    microvms: recorded('microvms', usualMicrovms()),
    roles: real.roles,
    logs: real.logs,
    garbage: recorded('garbage', { collect: async () => [{ kind: 'object' as const, name: 'objects/orphan', sizeBytes: 4096 }] }),
    connectors: recorded('connectors', real.connectors),
    tags: recorded('tags', real.tags),
    keys: recorded('keys', real.keys),
    quotas: real.quotas,
    integrity: recorded('integrity', {
      async verify() {
        return (async function* () {
          yield { subject: 'app:1.0', file: 'memory', sizeBytes: 4096, fault: null };
          yield { subject: 'microvm-one', file: 'device-state', sizeBytes: 17, fault: 'is missing' };
        })();
      },
    }),
    server: recorded('server', {
      health: async () => ({
        ...{ status: 'ok' as const, version: '0.1.0', driver: 'qemu', accelerator: 'tcg', reconciler: { runs: 3, mended: 1, lastRunAtMs: 1000 } },
        ...{ disks: { data: DISK, platform: DISK }, stoppedByDisk: 2 },
      }),
      metrics: async () => '# TYPE lull_build_info gauge\nlull_build_info 1\n',
      suspendAllAndStop: async () => ({ suspended: 2 }),
    }),
  };
}

const usualImages = (): ControlPlane['images'] => ({
  create: async ({ name, tags }) => ({ image: imageRecord(name, { tags }), version: versionRecord(name) }),
  update: async () => ({
    image: imageRecord('app', { state: 'UPDATING', latestActiveVersion: '1.0' }),
    version: versionRecord('app', '2.0'),
  }),
  rebuild: async () => ({ image: imageRecord('app', { state: 'UPDATING' }), version: versionRecord('app', '2.0') }),
  get: async () => imageRecord('app', { state: 'CREATED', latestActiveVersion: '1.0' }),
  list: async () => ({ items: [imageRecord('app')], next: null }),
  delete: async () => imageRecord('app', { state: 'DELETING' }),
  deleteVersion: async (_identifier, version) => ({
    image: imageRecord('app', { state: 'UPDATING' }),
    version: versionRecord('app', version, { state: 'DELETING' }),
  }),
  version: async (_identifier, version) => ({ image: imageRecord('app'), version: versionRecord('app', version) }),
  versions: async () => ({ image: imageRecord('app'), items: [versionRecord('app')], next: null }),
  setVersionStatus: async (_identifier, version, status) => ({
    image: imageRecord('app'),
    version: versionRecord('app', version, { status, state: 'SUCCESSFUL' }),
  }),
  managed: () => [MANAGED_IMAGE],
  async buildEvents() {
    return (async function* () {
      yield { atMs: 1, type: 'step' as const, step: 'build', state: 'started' as const };
      yield { atMs: 2, type: 'line' as const, step: 'build', text: 'STEP 1/2: FROM lull/base' };
    })();
  },
});

const usualMicrovms = (): ControlPlane['microvms'] => ({
  run: async () => microvmRecord('one'),
  get: async () => microvmRecord('one', { state: 'RUNNING' }),
  list: async () => ({ items: [microvmRecord('one', { state: 'WAKING' })], next: null }),
  suspend: async () => {},
  resume: async () => {},
  terminate: async () => {},
  createAuthToken: async () => 'a.b.c.d.e',
  createShellAuthToken: async () => 'a.b.c.d.e',
  executionRoleCredentials: async () => undefined,
  report: async () => ({ launch: [{ step: 'restore', ms: 12 }], suspend: null, wake: null }),
  async logs() {
    return (async function* () {
      yield Buffer.from('hello\n');
    })();
  },
});
