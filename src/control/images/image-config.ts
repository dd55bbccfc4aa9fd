/** From what a caller gave to a complete configuration: defaults (section 1.3) and the rules between members (section 1.6). */
import { WIRE_ARCHITECTURES, type ArchitecturePolicy } from '../../domain/platform.ts';
import type { HooksConfig, ImageConfig } from '../../domain/image.ts';
import {
  architectureUnsupported,
  baseImageUnknown,
  codeArtifactNotS3,
  hookPortRequired,
  memorySizeUnsupported,
  readyHookRequired,
} from '../../domain/refusals.ts';
import { DEFAULT_BASELINE_MIB, MICROVM_SIZES, microvmSize } from '../../domain/sizes.ts';
import { checkedConnectors, defaultConnectors } from '../connectors/named-connectors.ts';
import type { ImageConfigInput, ManagedImage } from '../control-plane.ts';
import type { ImagePorts } from './context.ts';

const S3_URI = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\/(.{1,1024})$/s;

/**
 * Completes and checks a configuration.
 * @throws LullError validation in AWS's words
 */
export function completeImageConfig(
  input: ImageConfigInput,
  { realm, managed, architecture }: Pick<ImagePorts, 'realm' | 'managed' | 'architecture'>,
): ImageConfig {
  const minimumMemoryMib = input.minimumMemoryMib ?? DEFAULT_BASELINE_MIB;
  const baseImageVersion = baseVersion(input, managed);
  if (parseS3Uri(input.codeArtifactUri) === undefined) throw codeArtifactNotS3();
  if (microvmSize(minimumMemoryMib) === undefined) {
    const supported = MICROVM_SIZES.map(({ baselineMib }) => baselineMib);
    throw memorySizeUnsupported(minimumMemoryMib, input.baseImageArn, supported);
  }
  checkHooks(input.hooks);
  checkArchitecture(input.cpuArchitectures, architecture);
  const egress = checkedConnectors(input.egressConnectors, 'egress');
  return { ...input, baseImageVersion, minimumMemoryMib, egressConnectors: egress ?? defaultConnectors(realm, 'egress') };
}

/** Bucket and key of an artifact; undefined where the text is no `s3://` address. */
export function parseS3Uri(uri: string): { bucket: string; key: string } | undefined {
  const match = S3_URI.exec(uri);
  return match === null ? undefined : { bucket: match[1]!, key: match[2]! };
}

/** AWS lists versions as `1` and shows them in images as `1.0` (section 2.1); both are accepted. */
function baseVersion({ baseImageArn, baseImageVersion }: ImageConfigInput, managed: readonly ManagedImage[]): string {
  const base = managed.find(({ imageArn }) => imageArn === baseImageArn);
  const wanted = baseImageVersion?.replace(/\.0$/, '') ?? base?.versions[0]?.version;
  const found = base?.versions.find(({ version }) => version === wanted);
  if (found === undefined) throw baseImageUnknown(baseImageArn, baseImageVersion ?? 'latest');
  return `${found.version}.0`;
}

function checkHooks(hooks: HooksConfig | null): void {
  const { run, resume, suspend, terminate } = hooks?.microvmHooks ?? {};
  const { ready, validate } = hooks?.microvmImageHooks ?? {};
  const usesLifecycle = [run, resume, suspend, terminate].includes('ENABLED');
  if (usesLifecycle && ready !== 'ENABLED') throw readyHookRequired();
  if ((usesLifecycle || ready === 'ENABLED' || validate === 'ENABLED') && hooks?.port === undefined) throw hookPortRequired();
}

/** Unless it is to be strict, an image is built for the host whatever its callers, who know AWS's one architecture, say. */
function checkArchitecture(asked: readonly string[] | null, { host, isStrict }: ArchitecturePolicy): void {
  const here = WIRE_ARCHITECTURES[host];
  const other = asked?.find((architecture) => architecture !== here);
  if (isStrict && other !== undefined) throw architectureUnsupported(other, here);
}
