/**
 * The memory of a generation and its checksum. SHA-256 is slower than memory and page cache are: it is taken by another thread,
 * over the file, while this one waits for the disk or writes into the process.
 */
import type { Files } from '../lib/files.ts';
import { damaged, type ApplyJob } from './memory-diff.ts';
import type { MemoryWorkers } from './memory-workers.ts';

/** Makes a diff durable that was just written. @returns its SHA-256 in hex */
export async function sealMemory(path: string, { workers, files }: { workers: MemoryWorkers; files: Files }): Promise<string> {
  const [sha256] = await Promise.all([workers.run('hash', { path }), files.sync(path)]);
  return sha256;
}

/**
 * Writes a diff into a fresh process.
 * @throws Error where it is not what was written; the process must then be abandoned, it may hold part of it
 */
export async function restoreMemory(workers: MemoryWorkers, job: ApplyJob, sha256: string): Promise<void> {
  const [found, applied] = await Promise.allSettled([workers.run('hash', { path: job.path }), workers.run('apply', job)]);
  // Both are over by now: nothing writes any more into a process that is going to be ended, and whose number another may get.
  if (applied.status === 'rejected') throw applied.reason;
  if (found.status === 'rejected') throw found.reason;
  if (found.value !== sha256) throw damaged(job.path);
}
