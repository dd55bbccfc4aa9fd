/** AWS's clients go through one scenario on one server; the compatibility page is what they saw. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { packSource } from '../../src/cli/source-archive.ts';
import { cannotServe, LullServer } from '../e2e/lull-server.ts';
import { LULL, plainEnvironment } from '../e2e/server-process.ts';
import { openClient, type ClientName } from './client.ts';
import { coverageOf } from './coverage.ts';
import { DIFFERENCES } from './differences.ts';
import { noAwsCli2, noPythonClients } from './installed.ts';
import type { Variables } from './matching.ts';
import { readModel } from './model.ts';
import { committedPage, PAGE_PATH, renderPage } from './page.ts';
import { RECORDED_ERRORS } from './recorded-errors.ts';
import { SCENARIO, SERVER_OPTIONS } from './scenario.ts';
import { runScenario, type Observation } from './scenario-run.ts';

/** The services that are held against their models, and which of their operations belong to MicroVMs. */
const SERVICES: Readonly<Record<string, (operation: string) => boolean>> = {
  'lambda-microvms': () => true,
  'lambda-core': (operation) => operation.includes('NetworkConnector'),
};

const APPLICATION = join(import.meta.dirname, '../fixtures/hooks-app');

/** The environment of a shell after `eval "$(lull env)"`; nothing else tells the clients where the server is. */
function lullEnvironment(data: string): NodeJS.ProcessEnv {
  const shown = execFileSync('sh', ['-c', 'eval "$("$0" env --data "$1")"; exec env -0', LULL, data], { env: plainEnvironment(), encoding: 'utf8' });
  const entries = shown.split('\0').filter((entry) => entry !== '').map((entry) => entry.split(/=(.*)/s).slice(0, 2) as [string, string]);
  // A call that is refused is not to be tried again.
  return { ...Object.fromEntries(entries), AWS_MAX_ATTEMPTS: '1' };
}

describe("AWS's clients", { skip: await cannotServe() }, () => {
  let server: LullServer;
  let folder: string;
  let env: NodeJS.ProcessEnv;
  let archive: Awaited<ReturnType<typeof packSource>>;
  const observed = new Map<ClientName, readonly Observation[]>();

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lull-clients-'));
    await writeFile(join(folder, 'no-artifact'), 'this is no zip');
    archive = await packSource(APPLICATION);
    server = await LullServer.start(SERVER_OPTIONS);
    env = lullEnvironment(server.data);
  });
  after(async () => {
    await server?.[Symbol.asyncDispose]();
    await archive?.[Symbol.asyncDispose]();
    await rm(folder, { recursive: true, force: true });
  });

  const goThrough = async (name: ClientName) => {
    using client = openClient(name, env);
    const variables: Variables = new Map([
      ['client', name],
      ['artifact', archive.path],
      ['noArtifact', join(folder, 'no-artifact')],
      ['account', '000000000000'],
      ['region', 'us-east-1'],
    ]);
    const observations = await runScenario(client, SCENARIO, variables);
    assert.ok(observations.length > 0);
    observed.set(name, observations);
  };

  describe('on one server', { concurrency: true }, () => {
    it('the JavaScript SDK goes through the scenario', () => goThrough('javascript'));
    it('boto3 goes through the scenario', { skip: noPythonClients }, () => goThrough('boto3'));
    it('the AWS CLI goes through the scenario', { skip: noPythonClients }, () => goThrough('cli'));
    it('version 2 of the AWS CLI goes through the scenario', async (t) => {
      const reason = await noAwsCli2();
      if (reason !== false) return t.skip(reason);
      await goThrough('cli2');
    });
  });

  it('the compatibility page is what they saw, and nothing on it is unexplained', { skip: noPythonClients }, async () => {
    // What every machine has: the page is the same on each.
    const observations = (['javascript', 'boto3', 'cli'] as const).flatMap((name) => observed.get(name) ?? assert.fail(`${name} did not go through the scenario`));
    const services = await Promise.all(Object.entries(SERVICES).map(async ([name, belongs]) => {
      const model = await readModel(name);
      return { model, operations: Object.keys(model.operations).filter(belongs) };
    }));
    const coverage = coverageOf({ services, recordedErrors: Object.keys(RECORDED_ERRORS), differences: DIFFERENCES, observations });
    const page = await renderPage({ services, coverage, observations });
    if (process.env['LULL_WRITE_PAGE'] === '1') await writeFile(PAGE_PATH, page);
    assert.deepEqual(coverage.unexplained, []);
    assert.equal(page, await committedPage(), 'docs/compatibility.md is out of date: LULL_WRITE_PAGE=1 node --test test/clients/clients.test.ts writes it');
  });
});
