/** Where an installation keeps its data, and what a client reads from there to reach its server. */
import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';

/** The data folder where none is given: the system's for root, else the user's (XDG Base Directory Specification). */
export function defaultDataFolder(env: NodeJS.ProcessEnv, uid: number): string {
  if (uid === 0) return '/var/lib/lull';
  // The specification tells to ignore relative paths.
  const data = env['XDG_DATA_HOME']?.startsWith('/') ? env['XDG_DATA_HOME'] : join(env['HOME'] ?? homedir(), '.local/share');
  return join(data, 'lull');
}

/** `credentials.json`: made at the first start, stays. */
const credentialsFile = z.object({
  region: z.string(),
  account: z.string(),
  accessKeyId: z.string(),
  secretAccessKey: z.string(),
});
export type InstallationCredentials = z.output<typeof credentialsFile>;

/** `server.json`: of the server that runs, or ran last. */
const serverFile = z.object({
  pid: z.int(),
  apiUrl: z.url(),
  endpointPort: z.int(),
  domain: z.string(),
  version: z.string(),
});
export type ServerAddress = z.output<typeof serverFile>;

/** A data folder that tells less than the command needs: the message says what to do. */
export class InstallationError extends Error {
  override readonly name = 'InstallationError';
}

/** Reads the keys. @throws InstallationError where no server ever ran on the folder */
export async function readCredentials(folder: string): Promise<InstallationCredentials> {
  const credentials = await readJson(join(folder, 'credentials.json'), credentialsFile);
  if (credentials !== undefined) return credentials;
  throw new InstallationError(`No server has run on ${folder} yet. Start one with \`lull up\`, or name its folder with --data.`);
}

/** Where the server listens or listened last; undefined where the folder does not say. */
export function readServerAddress(folder: string): Promise<ServerAddress | undefined> {
  return readJson(join(folder, 'server.json'), serverFile);
}

/** CA files that the server makes; the second holds the system's CAs too. */
export const caFiles = (folder: string) => ({ ca: join(folder, 'tls/ca.pem'), bundle: join(folder, 'tls/ca-bundle.pem') });

async function readJson<S extends z.ZodType>(path: string, schema: S): Promise<z.output<S> | undefined> {
  const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return undefined;
    throw new InstallationError(`${path} cannot be read: ${error.message}`, { cause: error });
  });
  if (text === undefined) return undefined;
  try {
    return schema.parse(JSON.parse(text));
  } catch (cause) {
    throw new InstallationError(`${path} is damaged.`, { cause });
  }
}
