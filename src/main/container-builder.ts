/** The container builder, made when the first build needs it: a server that only runs microVMs needs no buildah. */
import { createHash } from 'node:crypto';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Log } from '../lib/log.ts';
import { LullError, isLullError } from '../domain/errors.ts';
import type { Platform } from '../domain/platform.ts';
import { findBuildUser } from '../image/build-user.ts';
import { prepareBuilder, type ContainerBuilder } from '../image/container-build.ts';
import { lockDataFolder } from '../store/data-lock.ts';
import type { ServerOptions } from './options.ts';

/** Servers on one machine share the platform folder, and its layer cache as long as only one of them builds. */
const MAX_BUILDERS = 8;

/** How long making one may take: it imports the base images. */
const PREPARE_LIMIT_MS = 5 * 60_000;

/** A builder that is still to be made. */
export interface LazyContainerBuilder extends Pick<ContainerBuilder, 'build' | 'cached' | 'forget'>, AsyncDisposable {
  /** Where artifacts are unpacked for it. */
  readonly contextsDir: string;
}

/** What of the server's options matters to builds. */
export type BuilderSettings = Pick<ServerOptions, 'platformFolder' | 'baseMap' | 'buildEnvironment' | 'buildFiles' | 'buildNetworks'>;

/** Where the artifacts of one server are unpacked: that of its data folder, in the platform, which the build user may enter. */
export const contextsFolder = ({ platformFolder, dataFolder }: Pick<ServerOptions, 'platformFolder' | 'dataFolder'>) =>
  join(platformFolder, 'contexts', createHash('sha256').update(dataFolder).digest('hex').slice(0, 16));

export function lazyContainerBuilder(settings: BuilderSettings & { readonly dataFolder: string }, platform: Platform, log: Log): LazyContainerBuilder {
  // This server's alone, so what an earlier one left half-way can go.
  const contextsDir = contextsFolder(settings);
  rmSync(contextsDir, { recursive: true, force: true });
  mkdirSync(contextsDir, { recursive: true, mode: 0o711 });
  let opened: ReturnType<typeof openContainerBuilder> | undefined;
  const made = async (): Promise<ContainerBuilder> => {
    opened ??= openContainerBuilder(settings, platform, log);
    opened.catch(() => (opened = undefined));
    return (await opened).builder;
  };
  return {
    contextsDir,
    build: async (request) => (await made()).build(request),
    cached: async () => (await made()).cached(),
    forget: async (tag) => (await made()).forget(tag),
    [Symbol.asyncDispose]: async () => {
      await (await opened?.catch(() => undefined))?.[Symbol.asyncDispose]();
    },
  };
}

/** Takes the first builder's folder that is free, and imports the base images that it does not have. */
export async function openContainerBuilder(
  settings: BuilderSettings,
  platform: Platform,
  log: Log,
): Promise<{ builder: ContainerBuilder } & AsyncDisposable> {
  const { dir, lock } = freeBuilder(settings.platformFolder);
  await using stack = new AsyncDisposableStack();
  stack.use(lock);
  const builder = await prepareBuilder(
    {
      dir,
      user: process.getuid?.() === 0 ? await requireBuildUser() : null,
      baseImages: platform.baseImages.map(({ name, rootfsPath, digest, config }) => ({
        name,
        digest,
        tarPath: rootfsPath,
        env: Object.fromEntries(config.env.map((variable) => variable.split(/=(.*)/s) as [string, string])),
      })),
      baseNames: settings.baseMap,
      egress: 'auto',
      allowedNetworks: settings.buildNetworks,
      settings: {
        proxy: settings.buildEnvironment,
        files: Object.entries(settings.buildFiles).map(([source, target]) => ({ source, target })),
        buildArgs: {},
      },
    },
    AbortSignal.timeout(PREPARE_LIMIT_MS),
  );
  log.info({ egress: builder.egress, storage: builder.storageDriver, dir }, 'container builder ready');
  stack.use(builder);
  const held = stack.move();
  return { builder, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

async function requireBuildUser() {
  const user = await findBuildUser();
  if (user === null) throw new LullError('validation', 'The user lull-build does not exist: run `lull setup`.');
  return user;
}

/** The first builder's folder that no other server uses. */
function freeBuilder(platformFolder: string): { dir: string; lock: Disposable } {
  for (let number = 1; ; number += 1) {
    try {
      const lock = lockDataFolder(join(platformFolder, 'builder-locks', `${number}`));
      return { dir: join(platformFolder, `builder-${number}`), lock };
    } catch (error) {
      if (!isLullError(error, 'conflict') || number === MAX_BUILDERS) throw error;
    }
  }
}
