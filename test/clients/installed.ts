/** AWS's clients that are programs of their own: where they are on this machine, or why not. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { findTestClients } from '../../src/setup/test-clients.ts';

const ROOT = join(import.meta.dirname, '../..');

const clients = await findTestClients(ROOT);

/** The Python that has boto3 and version 1 of the AWS CLI (`-m awscli`). */
export const PYTHON = clients.python;

/** Why boto3, the AWS CLI, grpcio and websockets cannot be used here, or false. */
export const noPythonClients: string | false = clients.installed ? false : 'the clients in Python are not installed: `./lull test` installs them, where there is a network';

/** Why version 2 of the AWS CLI cannot be used here, or false. */
export async function noAwsCli2(): Promise<string | false> {
  const version = await promisify(execFile)('aws', ['--version']).then(
    ({ stdout }) => stdout,
    () => '',
  );
  return version.startsWith('aws-cli/2') ? false : 'version 2 of the AWS CLI is not on PATH';
}
