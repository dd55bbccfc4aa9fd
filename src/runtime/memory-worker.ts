/** Worker thread: long reads and writes of memory and disks, away from the event loop that carries traffic. */
import { createHash } from 'node:crypto';
import { closeSync, fsyncSync, openSync, readSync } from 'node:fs';
import { parentPort } from 'node:worker_threads';
import { applyDiff, captureDiff, type ApplyJob, type CaptureJob, type CaptureResult } from './memory-diff.ts';
import { findPageStructs, type PageStructs } from './page-structs.ts';

/** Everything the worker can do, by name. */
const jobs = {
  capture: (job: CaptureJob): CaptureResult => captureDiff(job),
  findPageStructs: (job: Parameters<typeof findPageStructs>[0]): PageStructs | undefined => findPageStructs(job),
  apply: (job: ApplyJob): void => applyDiff(job),
  /** Flushes files or folders to the disk, in order. */
  fsync: (job: { paths: readonly string[] }): void => {
    for (const path of job.paths) fsyncPath(path);
  },
  /** SHA-256, in hex, of a whole file, or of its `extents` only. */
  hash: (job: { path: string; extents?: readonly (readonly [number, number])[] }): string => hashFile(job.path, job.extents),
};

export type WorkerJobs = typeof jobs;

const HASH_CHUNK_BYTES = 1024 * 1024;

function fsyncPath(path: string): void {
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

function hashFile(path: string, extents: readonly (readonly [number, number])[] = [[0, Number.MAX_SAFE_INTEGER]]): string {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(HASH_CHUNK_BYTES);
  const file = openSync(path, 'r');
  try {
    for (const [offset, length] of extents) {
      for (let done = 0; done < length; ) {
        const got = readSync(file, buffer, 0, Math.min(HASH_CHUNK_BYTES, length - done), offset + done);
        if (got === 0) break;
        hash.update(buffer.subarray(0, got));
        done += got;
      }
    }
    return hash.digest('hex');
  } finally {
    closeSync(file);
  }
}

parentPort?.on('message', ({ job, argument }: { job: keyof WorkerJobs; argument: never }) => {
  try {
    parentPort!.postMessage({ result: jobs[job](argument) });
  } catch (error) {
    parentPort!.postMessage({ error });
  }
});
