/** Worker thread: long reads and writes of memory and disks, away from the event loop that carries traffic. */
import { createHash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import { openedFile, readSome } from '../host/positioned-file.ts';
import { applyDiff, captureDiff, type ApplyJob, type CaptureJob, type CaptureResult } from './memory-diff.ts';
import { findPageStructs, type PageStructs } from './page-structs.ts';

/** Everything the worker can do, by name. */
const jobs = {
  capture: (job: CaptureJob): CaptureResult => captureDiff(job),
  findPageStructs: (job: Parameters<typeof findPageStructs>[0]): PageStructs | undefined => findPageStructs(job),
  apply: (job: ApplyJob): void => applyDiff(job),
  /** SHA-256, in hex, of a whole file, or of its `extents` only. */
  hash: (job: { path: string; extents?: readonly (readonly [number, number])[] }): string => hashFile(job.path, job.extents),
};

export type WorkerJobs = typeof jobs;

const HASH_CHUNK_BYTES = 1024 * 1024;

function hashFile(path: string, extents: readonly (readonly [number, number])[] = [[0, Number.MAX_SAFE_INTEGER]]): string {
  const hash = createHash('sha256');
  const buffer = Buffer.allocUnsafe(HASH_CHUNK_BYTES);
  using file = openedFile(path, 'r');
  for (const [offset, length] of extents) {
    for (let done = 0; done < length; ) {
      const got = readSome(file.fd, buffer.subarray(0, Math.min(HASH_CHUNK_BYTES, length - done)), offset + done);
      if (got === 0) break;
      hash.update(buffer.subarray(0, got));
      done += got;
    }
  }
  return hash.digest('hex');
}

parentPort?.on('message', ({ job, argument }: { job: keyof WorkerJobs; argument: never }) => {
  try {
    parentPort!.postMessage({ result: jobs[job](argument) });
  } catch (error) {
    parentPort!.postMessage({ error });
  }
});
