/** `lull demo`: from a Dockerfile to an answer, to sleep and back, each step with its time. */
import { join } from 'node:path';
import { z } from 'zod';
import type { CommandContext, Machine, Terminal } from './command-line.ts';
import { CommandFailure } from './command-line.ts';
import { openEndpoint } from './endpoint-access.ts';
import type { EndpointAccess } from './endpoint-access.ts';
import { buildImage } from './image-build.ts';
import type { Installation } from './installation.ts';
import { launchMicrovm } from './microvm-launch.ts';
import { startOwnServer } from './own-server.ts';
import { duration, json, size, table } from './table.ts';

const IMAGE = 'counter';
const MEMORY_MIB = 256;
/** The median of so many is the warm answer. */
const WARM_ANSWERS = 9;
const OK = 200;
/** A request wakes only a microVM whose idle policy says so; its times are longer than the demo. */
const IDLE_POLICY = { maxIdleDurationSeconds: 900, suspendedDurationSeconds: 3600, autoResumeEnabled: true };

/** What `examples/counter` answers. */
const answerSchema = z.object({ requests: z.int(), lines: z.int(), ticks: z.int() });

/** The figures of the table, in milliseconds and bytes. */
interface Figures {
  readonly buildMs: number;
  readonly launchMs: number;
  readonly firstAnswerMs: number;
  readonly warmAnswerMs: number;
  readonly suspendMs: number;
  readonly suspendBytes: number;
  readonly wakeMs: number;
}

export function addDemo({ program, terminal, machine, action }: CommandContext): void {
  program
    .command('demo')
    .description('take an example from Dockerfile to answer, suspend and wake, on a server of its own')
    .option('--json', 'print the figures as JSON')
    .action(
      action(async (choice: { json?: boolean }) => {
        await machine.setUp({ refresh: false, say: terminal.say, signal: terminal.signal });
        const step = stepper(terminal);
        const figures = await takeTour(terminal, { machine, step });
        terminal.out(choice.json === true ? json(figures) : figuresTable(figures));
      }),
    );
}

/** The tour on a server that is gone afterwards; where it fails, what the server had to say about it is shown. */
async function takeTour(terminal: Terminal, { machine, step }: { machine: Machine; step: Step }): Promise<Figures> {
  await using server = await step('start a server', () => startOwnServer(terminal, machine));
  try {
    return await tour(terminal, server.installation, { folder: join(machine.examples, 'counter'), step });
  } catch (error) {
    if (!terminal.signal.aborted) for (const line of server.complaints()) terminal.say(`server: ${line}`);
    throw error;
  }
}

type Step = <T>(what: string, work: () => Promise<T>, tell?: (result: T) => string) => Promise<T>;

/** Says a step and its time on one line. */
function stepper({ say }: Terminal): Step {
  return async (what, work, tell) => {
    const startMs = performance.now();
    const result = await work();
    const ms = performance.now() - startMs;
    const more = tell === undefined ? '' : `  ${tell(result)}`;
    say(`${what.padEnd(28)}${duration(ms).padStart(9)}${more}`);
    return result;
  };
}

async function timed<T>(work: () => Promise<T>): Promise<{ ms: number; result: T }> {
  const startMs = performance.now();
  const result = await work();
  return { ms: performance.now() - startMs, result };
}

async function tour(terminal: Terminal, installation: Installation, { folder, step }: { folder: string; step: Step }): Promise<Figures> {
  const { client } = installation;
  const { signal } = terminal;
  const build = await step('build the image', () => timed(() => buildExample(terminal, installation, folder)));
  const launch = await step(
    'launch a microVM',
    () => timed(() => launchMicrovm(client, { imageIdentifier: build.result, idlePolicy: IDLE_POLICY }, signal)),
    ({ result }) => result.microvmId,
  );
  const { microvmId: id, endpoint } = launch.result;
  const access = await openEndpoint(installation, id);
  const ask = () => timed(() => askCounter(access, signal));
  const first = await step('first answer', ask, ({ result }) => `https://${endpoint}/  request ${result.requests}`);
  const warm = await step('warm answers', async () => {
    const times: number[] = [];
    for (let round = 0; round < WARM_ANSWERS; round += 1) times.push((await ask()).ms);
    return times.sort((a, b) => a - b)[Math.floor(WARM_ANSWERS / 2)]!;
  });
  const before = (await ask()).result;
  const suspend = await step(
    'suspend it',
    () =>
      timed(async () => {
        await client.call('SuspendMicrovm', { microvmIdentifier: id });
      }),
    () => 'no process is left, its memory is on disk',
  );
  const report = (await client.report(id)).suspend;
  const wake = await step('wake it by a request', ask, ({ result }) => `request ${result.requests}: it went on where it was`);
  const after = wake.result;
  if (after.requests !== before.requests + 1 || after.lines !== before.lines + 1 || after.ticks < before.ticks) {
    throw new CommandFailure(`The microVM lost its state: ${JSON.stringify(before)} became ${JSON.stringify(after)}.`);
  }
  await step('terminate it', () => client.call('TerminateMicrovm', { microvmIdentifier: id }));
  return {
    buildMs: build.ms,
    launchMs: launch.ms,
    firstAnswerMs: first.ms,
    warmAnswerMs: warm,
    suspendMs: suspend.ms,
    suspendBytes: report?.bytesWritten ?? 0,
    wakeMs: wake.ms,
  };
}

/** @returns the image's ARN */
async function buildExample(terminal: Terminal, installation: Installation, folder: string): Promise<string> {
  const outcome = await buildImage(installation, {
    folder,
    name: IMAGE,
    memoryMib: MEMORY_MIB,
    environment: undefined,
    signal: terminal.signal,
    onUpload: () => undefined,
    onEvent: (event) => {
      if (event.type === 'step' && event.state === 'finished') terminal.say(`  ${event.step.padEnd(26)}${duration(event.ms ?? 0).padStart(9)}`);
    },
  });
  if (outcome.state === 'SUCCESSFUL') return outcome.imageArn;
  const log = outcome.logTail.map((line) => `\n  ${line}`).join('');
  throw new CommandFailure(`The build failed: ${outcome.stateReason ?? 'no reason given'}${log}`);
}

async function askCounter(access: EndpointAccess, signal: AbortSignal): Promise<z.output<typeof answerSchema>> {
  const answer = await access.request({ method: 'GET', path: '/', headers: {}, body: undefined, signal });
  const body = Buffer.concat(await Array.fromAsync(answer as AsyncIterable<Buffer>)).toString('utf8');
  if (answer.statusCode !== OK) throw new CommandFailure(`The microVM answered ${answer.statusCode}: ${body.slice(0, 200)}`);
  return answerSchema.parse(JSON.parse(body));
}

function figuresTable(figures: Figures): string {
  const rows = [
    ['build', duration(figures.buildMs), 'Dockerfile to running snapshot'],
    ['launch', duration(figures.launchMs), 'RunMicrovm until RUNNING'],
    ['first answer', duration(figures.firstAnswerMs), 'over HTTPS'],
    ['warm answer', duration(figures.warmAnswerMs), `median of ${WARM_ANSWERS}`],
    ['suspend', duration(figures.suspendMs), `${size(figures.suspendBytes)} written`],
    ['wake', duration(figures.wakeMs), 'request to answer'],
  ];
  return `\n${table(['STEP', 'TIME', ''], rows, new Set([1]))}`;
}
