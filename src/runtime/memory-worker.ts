/** Worker thread: long reads and writes of memory and disks, away from the event loop that carries traffic. */
import { createHash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import { openedFile, readSome } from '../host/positioned-file.ts';
import { applyDiff, boundDiff, captureDiff, type ApplyJob, type CaptureJob, type CaptureResult, type Extent } from './memory-diff.ts';
import { findPageStructs, type PageStructs } from './page-structs.ts';

/** Everything the worker can do, by name. */
const jobs = {
  bound: (job: CaptureJob): number => boundDiff(job),
  capture: (job: CaptureJob): CaptureResult => captureDiff(job),
  findPageStructs: (job: Parameters<typeof findPageStructs>[0]): PageStructs | undefined => findPageStructs(job),
  apply: (job: ApplyJob): void => applyDiff(job),
  /** SHA-256, in hex, of a whole file, or of its `extents` only. */
  hash: (job: { path: string; extents?: readonly Extent[] }): string => hashFile(job.path, job.extents),
  /** True where the `extents` of a file hold nothing but zeros. */
  isZero: (job: { path: string; extents: readonly Extent[] }): boolean => isZero(job.path, job.extents),
};

export type WorkerJobs = typeof jobs;

const CHUNK_BYTES = 1024 * 1024;
const ZEROS = Buffer.alloc(CHUNK_BYTES);
const WHOLE: readonly Extent[] = [[0, Number.MAX_SAFE_INTEGER]];

function hashFile(path: string, extents: readonly Extent[] = WHOLE): string {
  const hash = createHash('sha256');
  for (const chunk of chunksOf(path, extents)) hash.update(chunk);
  return hash.digest('hex');
}

function isZero(path: string, extents: readonly Extent[]): boolean {
  for (const chunk of chunksOf(path, extents)) if (!chunk.equals(ZEROS.subarray(0, chunk.length))) return false;
  return true;
}

/** The bytes of the extents, as far as the file goes; each chunk is overwritten by the next. */
function* chunksOf(path: string, extents: readonly Extent[]): Generator<Buffer> {
  const buffer = Buffer.allocUnsafe(CHUNK_BYTES);
  using file = openedFile(path, 'r');
  for (const [offset, length] of extents) {
    for (let done = 0; done < length; ) {
      const got = readSome(file.fd, buffer.subarray(0, Math.min(CHUNK_BYTES, length - done)), offset + done);
      if (got === 0) break;
      yield buffer.subarray(0, got);
      done += got;
    }
  }
}

parentPort?.on('message', ({ job, argument }: { job: keyof WorkerJobs; argument: never }) => {
  try {
    parentPort!.postMessage({ result: jobs[job](argument) });
  } catch (error) {
    parentPort!.postMessage({ error });
  }
});
