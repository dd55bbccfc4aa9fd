/** Finds the server that a command talks to. */
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Option } from 'commander';
import type { Command } from 'commander';
import { LullClient } from '../client/client.ts';
import { caFiles, readCredentials, readServerAddress } from '../client/data-folder.ts';
import type { InstallationCredentials, ServerAddress } from '../client/data-folder.ts';
import { apiTrust } from '../client/trust.ts';
import type { Terminal } from './command-line.ts';
import { CommandFailure } from './command-line.ts';

/** Options of every command that talks to a server. */
export interface ServerChoice {
  readonly data?: string | undefined;
  readonly json?: boolean | undefined;
}

/** Adds `--data`, for the commands that look for a server. */
export const withData = (command: Command) =>
  command.addOption(new Option('--data <folder>', 'data folder of the server').env('LULL_DATA'));

/** Adds `--data` and `--json`. */
export const withDataAndJson = (command: Command) => withData(command).option('--json', 'print JSON');

/** A server as its data folder describes it. */
export interface Installation {
  readonly folder: string;
  readonly credentials: InstallationCredentials;
  readonly server: ServerAddress;
  readonly client: LullClient;
}

/** The data folder that a command means. */
export const dataFolder = (terminal: Terminal, choice: ServerChoice) =>
  choice.data === undefined || choice.data === '' ? terminal.dataFolder() : resolve(choice.data);

/** Reads where the server is and as whom to speak to it. @throws InstallationError, CommandFailure where the folder knows none */
export async function findInstallation(terminal: Terminal, choice: ServerChoice): Promise<Installation> {
  const folder = dataFolder(terminal, choice);
  const credentials = await readCredentials(folder);
  const server = await readServerAddress(folder);
  if (server === undefined) throw new CommandFailure(`No server runs on ${folder}. Start one with \`lull up\`.`);
  const trust = server.apiUrl.startsWith('https:') ? apiTrust(await readFile(caFiles(folder).bundle, 'utf8').catch(() => undefined)) : undefined;
  const client = new LullClient({ apiUrl: server.apiUrl, region: credentials.region, credentials, trust });
  return { folder, credentials, server, client };
}

/** The ARN of an image by its name; what is an ARN already stays. */
export function imageArnOf(credentials: InstallationCredentials, name: string): string {
  if (name.startsWith('arn:')) return name;
  return `arn:aws:lambda:${credentials.region}:${credentials.account}:microvm-image:${name}`;
}

/** Takes `NAME[:VERSION]` or `ARN[:VERSION]` apart. */
export function parseImageReference(reference: string): { name: string; version: string | undefined } {
  const match = /^(arn:[^:]*:[^:]*:[^:]*:[^:]*:[^:]*:[^:]+|[^:]+)(?::([^:\s]+))?$/.exec(reference);
  if (match === null) throw new CommandFailure(`Not an image: ${reference}. Write NAME or NAME:VERSION.`);
  return { name: match[1]!, version: match[2] };
}
