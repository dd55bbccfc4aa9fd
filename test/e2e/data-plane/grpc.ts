/** gRPC (section 5.4), with grpcio. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { noPythonClients } from '../../clients/installed.ts';
import type { DataPlane } from './endpoint.ts';
import { runPython } from './python.ts';

/** @param plane is there once the tests run */
export function grpcSuite(plane: () => DataPlane): void {
  describe('grpcio', { skip: noPythonClients, timeout: 120_000 }, () => {
    it('makes calls of all four kinds, with trailers, errors, cancellation, and a refusal before the body was read', async () => {
      const { unknown, ...seen } = await runPython('grpc_client.py', plane());
      assert.deepEqual(seen, {
        unary: 'hello',
        trailers: { 'x-trailer': 'last' },
        big: 1_000_000,
        error: ['FAILED_PRECONDITION', 'not like this: ü'],
        serverStream: ['1', '2', '3', '4', '5'],
        clientStream: `${32 * 65_536}`,
        chat: ['0', '1', '2', '3'],
        cancelled: ['here', 'CANCELLED'],
        // What gRPC makes of 403.
        withoutToken: 'PERMISSION_DENIED',
      });
      assert.deepEqual(unknown, ['UNIMPLEMENTED', 'no such call']);
    });
  });
}
