/** What a microVM's connectors let in (section 5.7). */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { endpointOf, type DataPlane } from './endpoint.ts';

const managed = (name: string) => `arn:aws:lambda:us-east-1:aws:network-connector:aws-network-connector:${name}`;

/** @param plane is there once the tests run */
export function ingressSuite(plane: () => DataPlane): void {
  describe('the connectors of a microVM', { timeout: 120_000 }, () => {
    const launch = async (...names: readonly string[]) => endpointOf(await plane().server.run(plane().imageArn, { ingressNetworkConnectors: names.map(managed) }));

    it('let HTTP in with HTTP_INGRESS, with ALL_INGRESS and where none is named; with NO_INGRESS and SHELL_INGRESS alone there is an endpoint and nothing passes', async () => {
      assert.deepEqual((await plane().one.microvm.get()).ingressNetworkConnectors, [managed('HTTP_INGRESS')]);
      const open = await Promise.all([launch('HTTP_INGRESS', 'SHELL_INGRESS'), launch('ALL_INGRESS')]);
      for (const { microvm } of open) assert.equal((await microvm.ask('/seen')).status, 200);
      const closed = await Promise.all([launch('NO_INGRESS'), launch('SHELL_INGRESS')]);
      for (const { microvm, host } of closed) {
        assert.match(host, /^[0-9a-f-]{36}\.microvm\.localhost(:\d+)?$/);
        const { status, body } = await microvm.ask('/seen');
        assert.deepEqual([status, body.toString()], [403, 'Access to port denied']);
      }
      await Promise.all([...open, ...closed].map(({ microvm }) => microvm.terminate()));
    });
  });
}
