/** What is left on the folders of a server: what nobody owns, and what is missing. */
import { statSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Store } from '../../src/domain/ports.ts';
import { machinesBelow } from './fault-port.ts';

/** Folders of one server. */
export interface ServerFolders {
  readonly data: string;
  readonly runtime: string;
  /** Where artifacts are unpacked. */
  readonly contexts: string;
}

/** What the store says. */
export interface Rows {
  readonly microvms: readonly { readonly id: string; readonly state: string; readonly reason: string | null; readonly generation: number; readonly pid: number | null }[];
  readonly versions: readonly { readonly snapshotId: string; readonly state: string; readonly version: string; readonly reason: string | null }[];
  readonly images: readonly { readonly name: string; readonly state: string }[];
  readonly blobs: readonly string[];
}

export async function rowsOf(store: Store): Promise<Rows> {
  const page = { limit: 1000 };
  const images = (await store.images.list({}, page)).items;
  const versions = await store.images.versionsInStates(['PENDING', 'IN_PROGRESS', 'SUCCESSFUL', 'FAILED', 'DELETING', 'DELETE_FAILED', 'DELETED']);
  const microvms = (await store.microvms.list({}, page)).items;
  return {
    microvms: microvms.map(({ microvmId, state, stateReason, generation, process }) => ({ id: microvmId, state, reason: stateReason, generation, pid: process?.pid ?? null })),
    versions: versions.map(({ snapshotId, state, version, build }) => ({ snapshotId, state, version, reason: build.stateReason })),
    images: images.map(({ name, state }) => ({ name, state })),
    blobs: await store.objects.blobIds(),
  };
}

/** Nothing where all is well. */
export async function straysOf(folders: ServerFolders, rows: Rows): Promise<readonly string[]> {
  return [...(await straysOfMicrovms(folders, rows)), ...(await straysOfImages(folders, rows))];
}

const namesIn = (folder: string) => readdir(folder).catch((): string[] => []);

const difference = (what: string, found: readonly string[], wanted: readonly string[]): string[] => [
  ...found.filter((name) => !wanted.includes(name)).map((name) => `${what}: ${name} has no owner`),
  ...wanted.filter((name) => !found.includes(name)).map((name) => `${what}: ${name} is missing`),
];

async function straysOfMicrovms({ data, runtime }: ServerFolders, { microvms }: Rows): Promise<string[]> {
  const living = microvms.filter(({ state }) => state !== 'TERMINATED');
  const running = living.filter(({ state }) => state === 'RUNNING');
  const found = difference('folder', await namesIn(join(data, 'microvms')), living.map(({ id }) => id));
  for (const { id, state, generation } of living) {
    const kept = (await namesIn(join(data, 'microvms', id))).filter((name) => name !== 'agent-secret.json');
    // One that was woken keeps what it was woken from until it sleeps again.
    const last = `gen-${generation}`;
    const wanted = state === 'SUSPENDED' || kept.includes(last) ? ['scratch.ext4', last] : ['scratch.ext4'];
    found.push(...difference(`files of ${state}`, kept, wanted));
    if (wanted.includes(last)) found.push(...difference(last, await namesIn(join(data, 'microvms', id, last)), ['device-state', 'memory.diff', 'manifest.json']));
  }
  const pids = machinesBelow(runtime).map(String);
  found.push(...difference('process', pids, running.map(({ pid }) => `${pid}`)));
  const [own = ''] = await namesIn(runtime);
  found.push(...difference('sockets', await namesIn(join(runtime, own)), running.map(({ id }) => id.replace('microvm-', ''))));
  return found;
}

async function straysOfImages({ data, contexts }: ServerFolders, { versions, blobs }: Rows): Promise<string[]> {
  // The log of a build that a crash cut off goes with its files; of another that failed it stays.
  const folders = await namesIn(join(data, 'images'));
  const owned = versions.filter(({ snapshotId, state }) => state === 'SUCCESSFUL' || folders.includes(snapshotId));
  const found = difference('image', folders, owned.map(({ snapshotId }) => snapshotId));
  for (const { snapshotId, state } of versions) {
    // Its row says what is left to do, and it can be asked for again.
    if (state === 'DELETING' || state === 'DELETE_FAILED') continue;
    const files = (await namesIn(join(data, 'images', snapshotId))).filter((name) => name !== 'build.ndjson' && name !== 'console.log');
    const wanted = state === 'SUCCESSFUL' ? ['memory', 'device-state', 'root.erofs', 'scratch.ext4', 'manifest.json'] : [];
    found.push(...difference(`files of a version that is ${state}`, files, wanted));
  }
  const pool = (await namesIn(join(data, 'root-disks'))).filter((name) => statSync(join(data, 'root-disks', name)).nlink === 1);
  found.push(...difference('root disk', pool, []));
  found.push(...difference('blob', await namesIn(join(data, 'objects')), blobs));
  found.push(...difference('unpacked artifact', await namesIn(contexts), []));
  const rest = (await namesIn(data)).filter((name) => name.endsWith('.tmp') || name.endsWith('.partial'));
  found.push(...difference('data folder', rest, []));
  return found;
}
