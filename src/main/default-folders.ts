/** Where files of a server are where nobody says so. The data folder's default is in `src/client`, the platform folder's in `src/setup`. */
import { homedir } from 'node:os';
import { join } from 'node:path';

/** For sockets. */
export function defaultRuntimeFolder(env: NodeJS.ProcessEnv, uid: number): string {
  if (uid === 0) return '/run/lull';
  const runtime = env['XDG_RUNTIME_DIR'];
  return runtime?.startsWith('/') ? join(runtime, 'lull') : `/tmp/lull-${uid}`;
}

/** The configuration file: the system's for root, else the user's (XDG Base Directory Specification). */
export function defaultConfigFile(env: NodeJS.ProcessEnv, uid: number): string {
  if (uid === 0) return '/etc/lull/lull.toml';
  const config = env['XDG_CONFIG_HOME']?.startsWith('/') ? env['XDG_CONFIG_HOME'] : join(env['HOME'] ?? homedir(), '.config');
  return join(config, 'lull/lull.toml');
}
