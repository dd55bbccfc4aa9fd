/** What the figures of `lull bench proxy` come to: the tables, and each target with met, missed or not counted. */
import { duration, size, table } from '../cli/table.ts';
import { CHANNEL, WAKE, type ThroughMicrovm } from './proxy-microvm-rounds.ts';
import { LOADS, type LoadName, type NativeResult, type ProxyExtent, type SideFigures } from './proxy-rounds.ts';
import type { Samples } from './samples.ts';

/** Everything that one run measured. */
export interface ProxyBenchResult {
  readonly machine: string;
  readonly extent: ProxyExtent;
  readonly native: NativeResult;
  /** Undefined where only the native part was asked for. */
  readonly microvm: ThroughMicrovm | undefined;
}

export interface ProxyTarget {
  readonly target: string;
  readonly limit: string;
  /** Undefined where nothing was measured: there is no nginx. */
  readonly measured: number | undefined;
  readonly verdict: 'met' | 'missed' | 'not measured' | 'does not count';
}

/** A server whose core had time left was not what set the figure. */
const BUSY_SHARE = 0.95;
const BULK_LIMIT = 0.8;
const ADDED_MS_LIMIT = 1;
const CPU_LIMIT = 2.5;
const SOCKET_LIMIT = 1.3;
const CHANNEL_LIMIT = 0.9;
const WAKE_MS_LIMIT = 10;

const isBusy = (figures: SideFigures, load: LoadName) => figures.busy.summary(load).p50 >= BUSY_SHARE;

/** Every target, judged by medians. */
export function judgeProxy({ native, microvm }: ProxyBenchResult): ProxyTarget[] {
  const { sides, socketBytes } = native;
  const [direct, nginx, proxy] = [sides.get('direct')!, sides.get('nginx'), sides.get('proxy')!];
  const ratio = (series: 'perSecond' | 'cpuMs', load: LoadName) => nginx && proxy[series].summary(load).p50 / nginx[series].summary(load).p50;
  const bothBusy = (load: LoadName) => isBusy(proxy, load) && (nginx === undefined || isBusy(nginx, load));
  const targets = [
    judged('bulk down by nginx', { least: BULK_LIMIT, measured: ratio('perSecond', 'down'), counts: bothBusy('down') }),
    judged('bulk up by nginx', { least: BULK_LIMIT, measured: ratio('perSecond', 'up'), counts: bothBusy('up') }),
    judged('p50 added to a request, ms', { most: ADDED_MS_LIMIT, measured: proxy.p50Ms.summary('one').p50 - direct.p50Ms.summary('one').p50 }),
    // What a request costs does not depend on how many there are.
    judged('CPU of a request by nginx', { most: CPU_LIMIT, measured: ratio('cpuMs', 'many') }),
    judged('idle WebSocket by bare node:https', { most: SOCKET_LIMIT, measured: socketBytes.ratio('proxy', 'bare') }),
  ];
  if (microvm === undefined) return targets;
  const { channel, wake } = microvm;
  const longer = wake.summary(WAKE.request).p50 - wake.summary(WAKE.resume).p50;
  return [
    ...targets,
    judged('requests into a microVM by its channel', { least: CHANNEL_LIMIT, measured: channel.ratio(CHANNEL.requests.proxy, CHANNEL.requests.direct) }),
    judged('bulk out of a microVM by its channel', { least: CHANNEL_LIMIT, measured: channel.ratio(CHANNEL.down.proxy, CHANNEL.down.direct) }),
    judged('wake by a request, ms more than ResumeMicrovm and one', { most: WAKE_MS_LIMIT, measured: longer }),
  ];
}

interface Judgement {
  readonly most?: number;
  readonly least?: number;
  readonly measured: number | undefined;
  /** Both servers were busy; what does not depend on that counts always. */
  readonly counts?: boolean;
}

function judged(target: string, { most = Infinity, least = -Infinity, measured, counts = true }: Judgement): ProxyTarget {
  const limit = most === Infinity ? `≥ ${least}` : `≤ ${most}`;
  if (measured === undefined) return { target, limit, measured, verdict: 'not measured' };
  const isMet = least <= measured && measured <= most;
  return { target, limit, measured, verdict: !counts ? 'does not count' : isMet ? 'met' : 'missed' };
}

/** Everything, as measured. */
export const proxyFigures = ({ native, ...rest }: ProxyBenchResult) => ({
  ...rest,
  native: { sides: Object.fromEntries(native.sides), socketBytes: native.socketBytes },
});

const MICROSECONDS = 1000;
const MIB = 2 ** 20;
const isBulk = (load: LoadName) => load === 'down' || load === 'up';

/** The tables for people. */
export function renderProxyResult(result: ProxyBenchResult): string {
  const { machine, extent, native, microvm } = result;
  const tables = (Object.keys(LOADS) as LoadName[]).map((load) => loadTable(native, load));
  const measured = [...tables, socketsTable(native.socketBytes), ...(microvm === undefined ? [] : [channelTable(microvm), wakeTable(microvm)])];
  return [`${machine}\n${extent.rounds} rounds, each server in turn\n`, ...measured, targetsTable(judgeProxy(result))].join('\n');
}

function loadTable({ sides }: NativeResult, load: LoadName): string {
  const rows = [...sides].map(([name, figures]) => {
    const of = (series: keyof SideFigures) => figures[series].summary(load).p50;
    const speed = isBulk(load) ? `${Math.round(of('perSecond') / MIB)}` : `${Math.round(of('perSecond'))}`;
    const times = isBulk(load) ? [] : [of('p50Ms').toFixed(3), of('p99Ms').toFixed(3)];
    if (name === 'direct') return [name, speed, '', '', ...times];
    const cpu = isBulk(load) ? of('cpuMs') * MIB : of('cpuMs');
    return [name, speed, of('busy').toFixed(2), Math.round(cpu * MICROSECONDS).toString(), ...times, isBusy(figures, load) ? '' : 'core not busy: does not count'];
  });
  const units = isBulk(load) ? ['MIB/S', 'BUSY', 'CPU µS/MIB'] : ['REQUESTS/S', 'BUSY', 'CPU µS', 'P50 MS', 'P99 MS'];
  return table([LOADS[load].toUpperCase(), ...units, ''], rows, RIGHT);
}

const RIGHT = new Set([1, 2, 3, 4, 5]);

function socketsTable(bytes: Samples): string {
  return table(['IDLE WEBSOCKET', 'MEMORY'], bytes.names().map((name) => [name, size(bytes.summary(name).p50)]), RIGHT);
}

function channelTable({ channel }: ThroughMicrovm): string {
  const row = (what: string, { direct, proxy }: { direct: string; proxy: string }, unit: number) => {
    const [alone, through] = [channel.summary(direct).p50 / unit, channel.summary(proxy).p50 / unit];
    return [what, alone.toFixed(1), through.toFixed(1), (through / alone).toFixed(2)];
  };
  const rows = [row('requests/s, one at a time', CHANNEL.requests, 1), row('MiB/s down', CHANNEL.down, MIB)];
  return table(['INTO A MICROVM', 'CHANNEL ALONE', 'PROXY', 'RATIO'], rows, RIGHT);
}

function wakeTable({ wake }: ThroughMicrovm): string {
  const rows = wake.names().map((name) => [name, duration(wake.summary(name).p50), duration(wake.summary(name).p95)]);
  return table(['WAKE', 'P50', 'P95'], rows, RIGHT);
}

function targetsTable(targets: readonly ProxyTarget[]): string {
  const rows = targets.map(({ target, limit, measured, verdict }) => [target, measured?.toFixed(2) ?? '', limit, verdict]);
  return table(['TARGET', 'MEASURED', 'LIMIT', ''], rows, new Set([1, 2]));
}
