/** Clients in Python: programs beside this file, which print as JSON what they have seen. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { PYTHON } from '../../clients/installed.ts';
import { clientEnvironment, PORTS, type DataPlane } from './endpoint.ts';

const LIMIT_MS = 120_000;

/** Runs a program to its end. @throws Error with its last words where it fails */
export async function runPython(program: string, plane: DataPlane): Promise<Record<string, unknown>> {
  const { host, token } = plane.one;
  const facts = { host, token, ca: plane.caPath, ports: PORTS };
  // grpcio's own resolver does not ask the system, which knows names under .localhost.
  const env = clientEnvironment({ FACTS: JSON.stringify(facts), GRPC_DNS_RESOLVER: 'native' });
  const { stdout } = await promisify(execFile)(PYTHON, [join(import.meta.dirname, program)], { env, timeout: LIMIT_MS });
  const seen: unknown = JSON.parse(stdout);
  assert.ok(typeof seen === 'object' && seen !== null);
  return { ...seen };
}
