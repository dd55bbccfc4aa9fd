/** What the figures of `lull bench launch` come to: the tables, and each target with met or missed. */
import { duration, size, table } from '../cli/table.ts';
import { CHURNS, churnPages, churnTime, SERIES, type RoundsResult } from './rounds.ts';
import type { Samples } from './samples.ts';

/** Everything that one run measured. */
export interface BenchResult {
  /** What was measured on, in one line. */
  readonly machine: string;
  readonly rounds: number;
  readonly idle: RoundsResult;
  readonly touched: RoundsResult;
  readonly churns: Samples;
}

/** One target of the project. */
export interface Target {
  readonly target: string;
  readonly limit: number;
  readonly measured: number;
  readonly met: boolean;
}

const LAUNCH_LIMIT = 1.5;
const SUSPEND_LIMIT = 1 / 5;
const WAKE_LIMIT = 1;
const CHURN_LIMIT = 2;

/** Every target, judged by medians. */
export function judge({ idle, touched, churns }: BenchResult): Target[] {
  const { launch, wake, raw, suspend, rawSave } = SERIES;
  const target = (text: string, limit: number, measured: number): Target => ({ target: text, limit, measured, met: measured <= limit });
  return [
    target('launch, TLS included, by raw launch', LAUNCH_LIMIT, idle.samples.ratio(launch.fresh, raw)),
    target('launch, TLS excluded, by raw launch', LAUNCH_LIMIT, idle.samples.ratio(launch.ahead, raw)),
    target('wake by launch, TLS included', WAKE_LIMIT, idle.samples.ratio(wake.fresh, launch.fresh)),
    target('wake by launch, TLS excluded', WAKE_LIMIT, idle.samples.ratio(wake.ahead, launch.ahead)),
    target('suspend by full save, idle example', SUSPEND_LIMIT, idle.samples.ratio(suspend, rawSave)),
    target('suspend by full save, memory touched', SUSPEND_LIMIT, touched.samples.ratio(suspend, rawSave)),
    target('bytes after file reads by idle', CHURN_LIMIT, churns.ratio('read', 'idle')),
    target('bytes after allocate and free by idle', CHURN_LIMIT, churns.ratio('allocated', 'idle')),
  ];
}

const RIGHT = new Set([1, 2, 3]);

/** The tables for people. @param profile with the steps of our own */
export function renderResult(result: BenchResult, profile: boolean): string {
  const { idle, touched } = result;
  const parts = [
    `${result.machine}\n${result.rounds} rounds, by hand and through Lull in turns\n`,
    timesTable('IDLE EXAMPLE', idle.samples),
    timesTable('2 GIB GUEST, MEMORY TOUCHED', touched.samples),
    bytesTable(result),
  ];
  if (profile) parts.push(...(['launch', 'suspend', 'wake'] as const).map((what) => stepsTable(what, idle.steps[what])));
  return [...parts, targetsTable(judge(result))].join('\n');
}

function timesTable(title: string, samples: Samples): string {
  const { launch, wake } = SERIES;
  const row = (label: string, series: string, reference: string) => {
    const { p50, p95 } = samples.summary(series);
    return [label, duration(p50), duration(p95), series === reference ? '' : samples.ratio(series, reference).toFixed(2), `by ${reference}`];
  };
  const rows = [
    row('raw launch', SERIES.raw, SERIES.raw),
    row('launch, TLS included', launch.fresh, SERIES.raw),
    row('launch, TLS excluded', launch.ahead, SERIES.raw),
    row('wake, TLS included', wake.fresh, launch.fresh),
    row('wake, TLS excluded', wake.ahead, launch.ahead),
    row('raw save of all memory', SERIES.rawSave, SERIES.rawSave),
    row('suspend', SERIES.suspend, SERIES.rawSave),
  ].map((cells) => (cells[3] === '' ? cells.slice(0, 3) : cells));
  return table([title, 'P50', 'P95', 'RATIO', ''], rows, RIGHT);
}

function bytesTable({ idle, touched, churns }: BenchResult): string {
  const saved = (label: string, { samples }: RoundsResult) => {
    const ours = samples.summary(SERIES.suspendBytes).p50;
    const whole = samples.summary(SERIES.rawSaveBytes).p50;
    return [label, size(ours), size(whole), (ours / whole).toFixed(4), 'by the full save'];
  };
  const churned = (name: string, label: string) => {
    const zeros = churns.summary(churnPages(name)).p50;
    const more = `by idle; ${duration(churns.summary(churnTime(name)).p50)}, ${Math.round(zeros)} zero pages`;
    return [label, size(churns.summary(name).p50), '', churns.ratio(name, 'idle').toFixed(2), more];
  };
  const labels: Record<keyof typeof CHURNS, string> = { idle: '2 GiB guest, idle', read: 'after file reads', allocated: 'after allocate and free' };
  const rows = [
    saved('idle example', idle),
    saved('memory touched', touched),
    ...Object.entries(labels).map(([name, label]) => churned(name, label)),
  ];
  return table(['SUSPEND WRITES', 'LULL', 'FULL SAVE', 'RATIO', ''], rows, RIGHT);
}

function stepsTable(what: string, samples: Samples): string {
  const rows = samples.names().map((step) => {
    const { p50, p95 } = samples.summary(step);
    return [step, duration(p50), duration(p95)];
  });
  return table([`STEPS OF ${what.toUpperCase()}`, 'P50', 'P95'], rows, RIGHT);
}

/** Each target with what was measured. */
export function targetsTable(targets: readonly Target[]): string {
  const rows = targets.map(({ target, limit, measured, met }) => [target, measured.toFixed(2), `≤ ${limit}`, met ? 'met' : 'missed']);
  return table(['TARGET', 'RATIO', 'LIMIT', ''], rows, new Set([1, 2]));
}
