/** What a process used of the machine: proc(5). */
import { readFileSync } from 'node:fs';
import { statField } from '../host/process.ts';

/** Linux tells user space ticks of a hundredth of a second, whatever its own. */
const TICK_MS = 10;
const KIB = 1024;

/** Milliseconds of a processor that all threads of a process have used. */
export function cpuMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // In user space and in the kernel.
  return (Number(statField(stat, 14)) + Number(statField(stat, 15))) * TICK_MS;
}

/** Memory of a process that is in RAM, in bytes. */
export function residentBytesOf(pid: number): number {
  const kib = /^Rss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1];
  return Number(kib) * KIB;
}

/** The processors that this process may use, by number. */
export function allowedCores(): number[] {
  const list = /^Cpus_allowed_list:\s+(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))![1]!;
  return list.split(',').flatMap((range) => {
    const [first, last = first] = range.split('-').map(Number);
    return Array.from({ length: last! - first! + 1 }, (_, at) => first! + at);
  });
}
