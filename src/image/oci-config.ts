/** The configuration that an image carries: how its application is started. OCI image specification, "config". */
import { z } from 'zod';

const MAX_ITEMS = 1000;
const text = z.string().max(32 * 1024).refine((value) => !value.includes('\0'), 'holds a NUL');
const list = z.array(text).max(MAX_ITEMS).nullish().transform((items) => items ?? []);

const configSchema = z.object({
  Entrypoint: list,
  Cmd: list,
  Env: list,
  WorkingDir: z.string().max(4096).nullish().transform((dir) => (dir === undefined || dir === null || dir === '' ? '/' : dir)),
  User: z.string().max(256).nullish().transform((user) => user ?? ''),
  ExposedPorts: z.record(z.string().max(32), z.unknown()).nullish().transform((ports) => Object.keys(ports ?? {}).slice(0, MAX_ITEMS)),
});

const inspectSchema = z.object({ OCIv1: z.object({ config: configSchema.optional() }) });

export interface OciConfig {
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  /** `NAME=value`, names that hold no `=` and are not empty. */
  readonly env: readonly string[];
  /** Absolute. */
  readonly workingDir: string;
  /** As the Dockerfile says it: name or number, with or without a group; empty for root. */
  readonly user: string;
  /** TCP ports only, ascending, without repeats. */
  readonly exposedTcpPorts: readonly number[];
}

/**
 * @param json what `buildah inspect --type image` prints
 * @throws z.ZodError or SyntaxError where it is none, or a value is beyond its bounds
 */
export function parseOciConfig(json: string): OciConfig {
  const config = inspectSchema.parse(JSON.parse(json)).OCIv1.config ?? configSchema.parse({});
  return {
    entrypoint: config.Entrypoint,
    cmd: config.Cmd,
    env: config.Env.filter((variable) => /^[^=]+=/.test(variable)),
    workingDir: config.WorkingDir.startsWith('/') ? config.WorkingDir : `/${config.WorkingDir}`,
    user: config.User,
    exposedTcpPorts: tcpPorts(config.ExposedPorts),
  };
}

/** `8080`, `8080/tcp`, `8000-8010/tcp`. */
function tcpPorts(names: readonly string[]): readonly number[] {
  const ports = new Set<number>();
  for (const name of names) {
    const match = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/tcp)?$/i.exec(name);
    if (match === null) continue;
    const from = Number(match[1]);
    const to = Number(match[2] ?? match[1]);
    for (let port = from; port <= to && port <= 65_535 && ports.size < MAX_ITEMS; port++) if (port > 0) ports.add(port);
  }
  return [...ports].toSorted((a, b) => a - b);
}
