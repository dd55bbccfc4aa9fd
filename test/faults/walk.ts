/** The walk: one operation after the other is brought to grief at each of its steps, and what is left is looked at. */
import assert from 'node:assert/strict';
import { zipOf } from '../unit/image/zip-bytes.ts';
import { Killed } from './calls.ts';
import { assertNoStrays, Engine } from './engine.ts';
import { ERRNOS, isHalvable, takesRoom, type Done, type Fault, type Point } from './fault-port.ts';
import { OUTCOMES, type Kind, type OperationName, type Outcomes } from './outcomes.ts';

export interface Operation {
  readonly name: OperationName;
  /** The state that it starts from; none for a launch. */
  readonly from: 'RUNNING' | 'SUSPENDED' | 'none';
  readonly act: (subject: Subject) => Promise<unknown>;
}

/** What is done to a microVM. */
export const OPERATIONS: readonly Operation[] = [
  { name: 'launch', from: 'none', act: (subject) => subject.launch() },
  { name: 'suspend', from: 'RUNNING', act: ({ engine, id }) => engine.call('suspend', id) },
  { name: 'resume', from: 'SUSPENDED', act: ({ engine, id }) => engine.call('resume', id) },
  { name: 'terminate', from: 'RUNNING', act: ({ engine, id }) => engine.call('terminate', id) },
  { name: 'terminate a sleeper', from: 'SUSPENDED', act: ({ engine, id }) => engine.call('terminate', id) },
];

/** One microVM after the other, and what its application has acknowledged. */
export class Subject {
  readonly engine: Engine;
  id = '';
  /** The last count that was answered; undefined where none was. */
  #acknowledged = 0;
  /** Microvms of earlier turns. */
  readonly #ended = new Set<string>();

  constructor(engine: Engine) {
    this.engine = engine;
  }

  async launch(): Promise<void> {
    this.#forget();
    this.#acknowledged = 0;
    this.id = await this.engine.call('run', 'app');
    await this.engine.call('idle');
  }

  async row() {
    const { microvms } = await this.engine.call('rows');
    // Where the call was cut off before its answer came, the newest is meant.
    return microvms.find(({ id }) => (this.id === '' ? !this.#ended.has(id) : id === this.id));
  }

  /** Brings it into a state, with one more count in it. */
  async be(state: 'RUNNING' | 'SUSPENDED' | 'none'): Promise<void> {
    if (state === 'none') return this.end();
    const now = (await this.row())?.state;
    if (this.id === '' || now === undefined || now === 'TERMINATED') await this.launch();
    else if (now === 'SUSPENDED') await this.engine.call('resume', this.id);
    this.#acknowledged = (JSON.parse(await this.engine.call('ask', this.id, '/count')) as Count).memory;
    if (state === 'SUSPENDED') await this.engine.call('suspend', this.id);
  }

  async end(): Promise<void> {
    if (this.id !== '' && (await this.row())?.state !== 'TERMINATED') await this.engine.call('terminate', this.id);
    this.#forget();
  }

  /** Another engine process, and another microVM: after a failure nothing is known of this one. */
  async startOver(): Promise<void> {
    await this.engine.killed();
    await this.engine.start();
    const { microvms } = await this.engine.call('rows');
    for (const { id, state } of microvms) if (state !== 'TERMINATED') await this.engine.call('terminate', id);
    for (const { id } of microvms) this.#ended.add(id);
    this.id = '';
  }

  #forget(): void {
    if (this.id !== '') this.#ended.add(this.id);
    this.id = '';
  }

  /** Fails where the microVM is not in one of the states, has lost a count, or anything is left without an owner. */
  async check(outcomes: Outcomes, because: string): Promise<string> {
    await assertNoStrays(this.engine, because);
    const row = await this.row();
    // A launch that was refused, or cut off before it was promised, leaves nothing.
    if (row === undefined) return 'nothing';
    this.id = row.id;
    const reason = outcomes[row.state];
    assert.ok(reason !== undefined, `${because}: ${row.state} (${row.reason})`);
    if (reason !== null) assert.match(row.reason ?? '', reason, because);
    if (row.state === 'TERMINATED') return row.state;
    if (row.state === 'SUSPENDED') await this.engine.call('resume', row.id);
    const found = JSON.parse(await this.engine.call('ask', row.id, '/read')) as Count;
    const counted = this.#acknowledged;
    assert.deepEqual(found, { memory: counted, ballast: counted, disk: counted, broken: false }, because);
    await assertNoStrays(this.engine, `${because}, and woken`);
    return row.state;
  }
}

interface Count {
  readonly memory: number;
  readonly ballast: number;
  readonly disk: number;
  readonly broken: boolean;
}

/** So many engines on folders of their own, each with the image `app`. */
export async function subjects(count: number): Promise<readonly Subject[]> {
  await using template = await Engine.make();
  await template.start();
  await template.call('putArtifact', zipOf([{ name: 'Dockerfile', data: 'FROM scratch' }]).toString('base64'));
  await template.call('build', 'app');
  await template.stop();
  const made: Subject[] = [];
  while (made.length < count) made.push(new Subject(await Engine.make(template)));
  for (const { engine } of made) await engine.start();
  return made;
}

export const pointName = ({ name, nth }: Point) => (nth === 1 ? name : `${name} (${nth})`);

/** The steps of an operation that goes well, in order. */
export async function trace(subject: Subject, { from, act }: Pick<Operation, 'from' | 'act'>): Promise<readonly Done[]> {
  await subject.be(from);
  await subject.engine.call('begin', null);
  await act(subject);
  await subject.engine.call('idle');
  return (await subject.engine.call('traced')).done;
}

/** Every fault of one kind at these steps. */
export function faultsOf(kind: Kind, points: readonly Done[]): readonly Fault[] {
  return points.flatMap((done): readonly Fault[] => {
    const point = { name: done.name, nth: done.nth };
    if (kind === 'full') return takesRoom(done) ? [{ point, what: kind }] : [];
    if (kind === 'errno') return ERRNOS.map((what) => ({ point, what }));
    if (kind === 'server' && isHalvable(done)) return [{ point, what: 'server' }, { point, what: 'server half-way' }];
    return [{ point, what: kind }];
  });
}

/** Brings one operation to grief at one step, lets the server mend it, and checks what came of it. */
export async function bringToGrief(subject: Subject, operation: Operation, { kind, fault }: { kind: Kind; fault: Fault }): Promise<void> {
  const { engine } = subject;
  const because = `${operation.name}, ${fault.what} at ${pointName(fault.point)}`;
  try {
    await subject.be(operation.from);
    await engine.call('begin', fault);
    await operation.act(subject).catch(() => undefined);
    if (kind === 'server' || kind === 'power') await startAgain(engine, because);
    else await mended(engine, because);
    await subject.check(OUTCOMES[operation.name][kind === 'full' ? 'errno' : kind], because);
  } catch (error) {
    throw new Error(`${because}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

/** The next server on the folders of one that was killed. */
async function startAgain(engine: Engine, because: string): Promise<void> {
  await assert.rejects(engine.call('idle'), Killed, `${because}: the point is reached`);
  await engine.killed();
  await engine.start();
}

/** A minute later. */
async function mended(engine: Engine, because: string): Promise<void> {
  await engine.call('idle');
  assert.ok((await engine.call('traced')).wasHit, `${because}: the point is reached`);
  await engine.call('begin', null);
  await engine.call('aMinute');
}
