/** Text for people: tables, durations and sizes. */

/** Columns as wide as their widest cell, two blanks apart; numbers that people compare stand right. */
export function table(header: readonly string[], rows: readonly (readonly string[])[], right: ReadonlySet<number> = new Set()): string {
  const lines = [header, ...rows];
  const widths = header.map((_, column) => Math.max(...lines.map((line) => (line[column] ?? '').length)));
  const render = (line: readonly string[]) =>
    widths.map((width, column) => (right.has(column) ? (line[column] ?? '').padStart(width) : (line[column] ?? '').padEnd(width))).join('  ').trimEnd();
  return `${lines.map(render).join('\n')}\n`;
}

const SECOND_MS = 1000;
const DECIMAL_BELOW = 10;

/** `8.4 ms`, `120 ms`, `4.1 s`. */
export function duration(ms: number): string {
  if (ms < DECIMAL_BELOW) return `${ms.toFixed(1)} ms`;
  if (ms < SECOND_MS) return `${Math.round(ms)} ms`;
  return `${(ms / SECOND_MS).toFixed(1)} s`;
}

const UNIT = 1024;

/** `917 B`, `12.3 KiB`, `1.5 GiB`. */
export function size(bytes: number): string {
  let value = bytes;
  for (const unit of ['B', 'KiB', 'MiB', 'GiB']) {
    if (value < UNIT || unit === 'GiB') return unit === 'B' ? `${value} B` : `${value.toFixed(1)} ${unit}`;
    value /= UNIT;
  }
  return `${value}`;
}

/** `2026-11-23 14:59:23` (UTC) of seconds since the epoch. */
export const moment = (seconds: number) => new Date(seconds * SECOND_MS).toISOString().slice(0, 19).replace('T', ' ');

/** JSON for programs: one document, ended by a line feed. */
export const json = (value: unknown) => `${JSON.stringify(value, null, 2)}\n`;
