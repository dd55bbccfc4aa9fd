/** RunMicrovm: what is refused, in AWS's words, and what is repeated. Contract reference, 1.3, 1.6, 1.8, 7.2. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { RunMicrovmInput } from '../../../src/control/control-plane.ts';
import { DEFAULT_REALM, managedConnectorArn, type ManagedConnector } from '../../../src/domain/ids.ts';
import { connectorRecord } from '../../fakes/records.ts';
import { APP_ARN, microvmsBed, runInput } from './microvms-bed.ts';

const MANAGED = (name: ManagedConnector) => managedConnectorArn(DEFAULT_REALM, name);
const OTHER_ARN = APP_ARN.replace('app', 'other');

describe('RunMicrovm', () => {
  test('fills in what was left out', async () => {
    await using bed = await microvmsBed();
    const microvm = await bed.microvms.useCases.run(runInput());
    assert.equal(microvm.state, 'PENDING');
    assert.equal(microvm.imageVersion, '1.0');
    assert.deepEqual(microvm.ingressConnectors, [managedConnectorArn(DEFAULT_REALM, 'HTTP_INGRESS')]);
    assert.deepEqual(microvm.egressConnectors, [managedConnectorArn(DEFAULT_REALM, 'INTERNET_EGRESS')]);
    assert.notEqual(microvm.endpointId, microvm.microvmId.replace('microvm-', ''));
  });

  const refused: readonly { name: string; input: Partial<RunMicrovmInput>; kind: string; message: RegExp }[] = [
    { name: 'an unknown image', input: { imageIdentifier: OTHER_ARN }, kind: 'not-found', message: /^No active version found for MicroVM image arn:.*other$/ },
    { name: 'an unknown version', input: { imageVersion: '7.0' }, kind: 'not-found', message: /^No active version found .* and version 7\.0$/ },
    { name: 'an image of another account', input: { imageIdentifier: APP_ARN.replace('000000000000', '111122223333') }, kind: 'not-found', message: /^No active version found for MicroVM image arn:.*111122223333/ },
    { name: 'what is no ARN', input: { imageIdentifier: 'x:y' }, kind: 'validation', message: /^Malformed ARN - doesn't start with 'arn:'$/ },
    { name: 'a payload without its hook', input: { runHookPayload: 'x' }, kind: 'validation', message: /^The run hook must be enabled/ },
    { name: 'a bare connector', input: { ingressConnectors: ['HTTP_INGRESS'] }, kind: 'validation', message: /^Malformed network connector ARN$/ },
    { name: 'an ingress connector for egress', input: { egressConnectors: [MANAGED('HTTP_INGRESS')] }, kind: 'validation', message: /^Unrecognized managed network connector ARN: / },
    {
      name: 'an unknown connector',
      input: { egressConnectors: ['arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:NO_EGRESS'] },
      kind: 'validation',
      message: /^Unrecognized managed network connector ARN: /,
    },
  ];
  for (const { name, input, kind, message } of refused) {
    test(`refuses ${name}`, async () => {
      await using bed = await microvmsBed();
      await assert.rejects(bed.microvms.useCases.run(runInput(input)), { kind, message });
      assert.deepEqual(await bed.store.microvms.inStates(['PENDING', 'RUNNING']), []);
    });
  }

  test('counts the baselines of all that live, at once', async () => {
    await using bed = await microvmsBed({ memoryQuotaMib: 3 * 512 });
    const outcomes = await Promise.allSettled(Array.from({ length: 6 }, () => bed.microvms.useCases.run(runInput())));
    assert.equal(outcomes.filter(({ status }) => status === 'fulfilled').length, 3);
    await assert.rejects(bed.microvms.useCases.run(runInput()), { kind: 'quota-exceeded' });
    const [first] = await bed.store.microvms.inStates(['PENDING', 'RUNNING']);
    await bed.microvms.useCases.terminate(first!.microvmId);
    await bed.microvms.useCases.run(runInput());
  });

  test('refuses what the host cannot hold before the host suffers', async () => {
    await using bed = await microvmsBed({ availableMib: 511 });
    await assert.rejects(bed.microvms.useCases.run(runInput()), { kind: 'insufficient-capacity', message: /511 MiB of memory left/ });
  });

  const connectors: readonly { name: string; input: Partial<RunMicrovmInput>; ingress: readonly string[]; egress: readonly string[] }[] = [
    { name: 'none', input: { ingressConnectors: [], egressConnectors: [] }, ingress: [MANAGED('HTTP_INGRESS')], egress: [MANAGED('INTERNET_EGRESS')] },
    // Recorded (1.6): accepted here, refused for shell tokens.
    { name: 'two that do not go together', input: { ingressConnectors: [MANAGED('ALL_INGRESS'), MANAGED('SHELL_INGRESS')] }, ingress: [MANAGED('ALL_INGRESS'), MANAGED('SHELL_INGRESS')], egress: [MANAGED('INTERNET_EGRESS')] },
    { name: 'no way in', input: { ingressConnectors: [MANAGED('NO_INGRESS')] }, ingress: [MANAGED('NO_INGRESS')], egress: [MANAGED('INTERNET_EGRESS')] },
  ];
  for (const { name, input, ingress, egress } of connectors) {
    test(`takes connectors: ${name}`, async () => {
      await using bed = await microvmsBed();
      const microvm = await bed.microvms.useCases.run(runInput(input));
      assert.deepEqual([microvm.ingressConnectors, microvm.egressConnectors], [ingress, egress]);
    });
  }

  test('a version that is INACTIVE is not launched, pinned or not; what runs goes on', async () => {
    await using bed = await microvmsBed();
    const id = await bed.running();
    await bed.store.images.update('app', '1.0', { version: { status: 'INACTIVE' } });
    await assert.rejects(bed.microvms.useCases.run(runInput()), { kind: 'not-found', message: `No active version found for MicroVM image ${APP_ARN}` });
    const pinned = bed.microvms.useCases.run(runInput({ imageVersion: '1.0' }));
    await assert.rejects(pinned, { kind: 'not-found', message: `No active version found for MicroVM image ${APP_ARN} and version 1.0` });
    assert.equal(await bed.state(id), 'RUNNING');
  });

  test('repeats its answer to the same client token, also when it has ended', async () => {
    await using bed = await microvmsBed();
    const input = runInput({ clientToken: 'token-1' });
    const [first, again] = await Promise.all([bed.microvms.useCases.run(input), bed.microvms.useCases.run(input)]);
    assert.equal(first.microvmId, again.microvmId);
    await bed.microvms.useCases.terminate(first.microvmId);
    const late = await bed.microvms.useCases.run(input);
    assert.deepEqual([late.microvmId, late.state], [first.microvmId, 'TERMINATED']);
    assert.equal((await bed.store.microvms.list({}, { limit: 5 })).items.length, 1);
  });

  test('mints shell tokens where SHELL_INGRESS is, and ALL_INGRESS is not beside it', async () => {
    await using bed = await microvmsBed();
    const { useCases } = bed.microvms;
    const ingress = (...names: readonly ManagedConnector[]) => bed.running({ ingressConnectors: names.map((name) => managedConnectorArn(DEFAULT_REALM, name)) });
    const mint = (microvmId: string, expirationMinutes = 60) => useCases.createShellAuthToken({ microvmId, expirationMinutes });
    const shell = await ingress('HTTP_INGRESS', 'SHELL_INGRESS');
    assert.match(await mint(shell), /"purpose":"shell"/);
    await assert.rejects(mint(shell, 61), { kind: 'validation', message: 'ExpirationMinutes 61 exceeded max allowed of 60.' });
    await assert.rejects(mint(await ingress('HTTP_INGRESS')), { kind: 'validation', message: 'Shell access requires SHELL_INGRESS network connector to be configured on the MicroVM.' });
    await assert.rejects(mint(await ingress('ALL_INGRESS', 'SHELL_INGRESS')), {
      kind: 'validation',
      message: 'ALL_INGRESS cannot be combined with other ingress network connectors; use HTTP_INGRESS and/or SHELL_INGRESS instead',
    });
    await assert.rejects(mint('microvm-none'), { kind: 'not-found', message: 'MicroVM not found: microvm-none' });
  });

  test('lets traffic out by a connector that exists', async () => {
    await using bed = await microvmsBed();
    const { useCases } = bed.microvms;
    const connector = connectorRecord('vpc');
    const input = runInput({ egressConnectors: [connector.arn] });
    await assert.rejects(useCases.run(input), { kind: 'not-found', message: `Network connector not found for: ${connector.arn}` });
    await bed.store.connectors.insert(connector);
    assert.deepEqual((await useCases.run(input)).egressConnectors, [connector.arn]);
    await assert.rejects(useCases.run(runInput({ ingressConnectors: [connector.arn] })), {
      kind: 'validation',
      message: `Unrecognized managed network connector ARN: ${connector.arn}`,
    });
  });
  const others: readonly Partial<RunMicrovmInput>[] = [
    { maximumDurationSeconds: 60 },
    { imageVersion: '1.0' },
    { idlePolicy: null },
    { runHookPayload: 'x' },
    { ingressConnectors: [MANAGED('NO_INGRESS')] },
    { egressConnectors: [MANAGED('INTERNET_EGRESS')] },
    { executionRoleArn: 'arn:aws:iam::000000000000:role/run' },
    { logging: { disabled: {} } },
    { imageIdentifier: OTHER_ARN },
  ];
  for (const other of others) {
    test(`refuses a client token that comes with other parameters: ${JSON.stringify(other)}`, async () => {
      await using bed = await microvmsBed();
      const input = runInput({ clientToken: 'token-1' });
      await bed.microvms.useCases.run(input);
      await assert.rejects(bed.microvms.useCases.run({ ...input, ...other }), { kind: 'conflict', message: /client token token-1 / });
    });
  }

  test('mints tokens for whatever has not ended, for an hour at most', async () => {
    await using bed = await microvmsBed();
    const id = await bed.running();
    const ask = (expirationMinutes: number) =>
      bed.microvms.useCases.createAuthToken({ microvmId: id, expirationMinutes, ports: [{ from: 1, to: 65_535 }] });
    assert.match(await ask(60), new RegExp(id));
    await assert.rejects(ask(61), { message: 'ExpirationMinutes 61 exceeded max allowed of 60.' });
    await bed.microvms.useCases.suspend(id);
    await ask(1);
    await bed.microvms.useCases.terminate(id);
    await assert.rejects(ask(1), { message: `The MicroVM ${id} has been terminated and its state cannot be changed.` });
    await assert.rejects(bed.microvms.useCases.suspend(id), { kind: 'validation' });
  });
});
