/** Leads one client through the scenario, and keeps what it sent and received. */
import { setTimeout as pass } from 'node:timers/promises';
import type { AwsClient, Call, ClientName, Json, JsonObject, Outcome, Refusal } from './client.ts';
import { filled, mismatch, valueAt, type Variables } from './matching.ts';
import { RECORDED_ERRORS, textOf, type RecordedError } from './recorded-errors.ts';

/** An error that a step must get. */
export interface ExpectedError {
  readonly type: string;
  readonly status: number;
  /** A text or a pattern of {@link mismatch}. */
  readonly message: Json;
  /** Its row in the table of recorded errors. */
  readonly recorded?: string;
}

/** One step: data, the same for every client. */
export interface Step {
  readonly id: string;
  readonly service: string;
  readonly operation: string;
  readonly input: JsonObject;
  /** What the answer must match. */
  readonly expect?: Json;
  /** The refusal that must come instead of an answer. */
  readonly error?: ExpectedError;
  /** Asks again until the outcome is the expected one. */
  readonly repeat?: true;
  /** Name → path in the answer, for later steps. */
  readonly save?: Readonly<Record<string, string>>;
  /** The only clients that can do it: the others check the input themselves, or do not know the service. */
  readonly only?: readonly ClientName[];
}

/** A recorded error as a step's `error`, with what stands between `<…>` in its text. */
export function recorded(id: keyof typeof RECORDED_ERRORS, values: Readonly<Record<string, string>> = {}): ExpectedError {
  const { type, status, text }: RecordedError = RECORDED_ERRORS[id];
  return { type, status, message: textOf(text, values), recorded: id };
}

/** One call with what came of it. */
export interface Observation {
  readonly client: ClientName;
  readonly service: string;
  readonly operation: string;
  readonly input: JsonObject;
  /** As it was on the wire, where the client can tell. */
  readonly output?: unknown;
  readonly error?: Refusal;
  /** The row of the recorded error that it matched. */
  readonly recorded?: string;
}

const REPEAT_INTERVAL_MS: Readonly<Record<ClientName, number>> = { javascript: 250, boto3: 250, cli: 1000, cli2: 1000 };
const REPEAT_LIMIT_MS = 240_000;

/** Clients that know the service at all: AWS publishes no JavaScript client for `lambda-core`. */
const knows = (client: ClientName, { service }: Step) => client !== 'javascript' || service !== 'lambda-core';

/**
 * Runs the steps in order.
 * @returns each step's call, with the outcome that was the expected one: what was seen on the way there may not be seen the next time
 * @throws Error at the first step whose outcome is not the expected one
 */
export async function runScenario(client: AwsClient, steps: readonly Step[], variables: Variables): Promise<readonly Observation[]> {
  const observations: Observation[] = [];
  for (const step of steps) {
    if (!knows(client.name, step) || step.only?.includes(client.name) === false) continue;
    try {
      await runStep({ client, step, variables, observations });
    } catch (cause) {
      throw new Error(`${client.name}, step ${step.id}: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    }
  }
  return observations;
}

interface StepRun {
  readonly client: AwsClient;
  readonly step: Step;
  readonly variables: Variables;
  readonly observations: Observation[];
}

async function runStep({ client, step, variables, observations }: StepRun): Promise<void> {
  const call: Call = { service: step.service, operation: step.operation, input: filled(step.input, variables) as JsonObject };
  const fill = (pattern: Json) => filled(pattern, variables);
  const made = { client: client.name, ...call };
  for (const startMs = performance.now(); ; ) {
    const outcome = await client.call(call);
    const wrong = wrongIn(outcome, step, fill);
    if (wrong === undefined) {
      observations.push({ ...made, ...observed(outcome, step) });
      if ('output' in outcome) for (const [name, path] of Object.entries(step.save ?? {})) variables.set(name, saved(outcome.output, path));
      return;
    }
    if (step.repeat !== true || 'error' in outcome || performance.now() - startMs > REPEAT_LIMIT_MS) throw new Error(wrong);
    await pass(REPEAT_INTERVAL_MS[client.name]);
  }
}

function observed(outcome: Outcome, { error }: Step): Pick<Observation, 'output' | 'error' | 'recorded'> {
  if ('output' in outcome) return { output: outcome.wire ?? outcome.output };
  return { error: outcome.error, ...(error?.recorded === undefined ? {} : { recorded: error.recorded }) };
}

/** What keeps an outcome from being the expected one. */
function wrongIn(outcome: Outcome, { error: expected, expect = {} }: Step, fill: (pattern: Json) => Json): string | undefined {
  if ('output' in outcome) return expected === undefined ? mismatch(fill(expect), outcome.output) : `answered instead of ${expected.type}: ${JSON.stringify(outcome.output)}`;
  const { error } = outcome;
  if (expected === undefined) return `refused: ${JSON.stringify(error)}`;
  const wanted = { type: expected.type, message: fill(expected.message), ...(error.status === null ? {} : { status: expected.status }) };
  const wrong = mismatch(wanted, error, 'the refusal');
  return wrong === undefined ? undefined : `${wrong}; all of it: ${JSON.stringify(error)}`;
}

function saved(output: object, path: string): Json {
  const value = valueAt(output, path);
  if (value === undefined) throw new Error(`there is no ${path} in ${JSON.stringify(output)}`);
  return value as Json;
}
