/** From what a caller gave to a complete configuration: defaults (section 1.3) and the rules between members (section 1.6). */
import { managedConnectorArn, managedConnectorOf, type Realm } from '../../domain/ids.ts';
import { customerConnectorOf } from '../../domain/network-connector.ts';
import type { HooksConfig, ImageConfig } from '../../domain/image.ts';
import {
  baseImageUnknown,
  codeArtifactNotS3,
  connectorMalformed,
  connectorUnknown,
  memorySizeUnsupported,
  readyHookRequired,
} from '../../domain/refusals.ts';
import { DEFAULT_BASELINE_MIB, MICROVM_SIZES, microvmSize } from '../../domain/sizes.ts';
import type { ImageConfigInput, ManagedImage } from '../control-plane.ts';

const S3_URI = /^s3:\/\/([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])\/(.{1,1024})$/s;
const CONNECTOR_ARN = /^arn:aws[a-z-]*:lambda:[a-z0-9-]+:([0-9]{12}|aws):network-connector:.+$/;

/**
 * Completes and checks a configuration.
 * @throws LullError validation in AWS's words
 */
export function completeImageConfig(
  input: ImageConfigInput,
  { realm, managed }: { realm: Realm; managed: readonly ManagedImage[] },
): ImageConfig {
  const minimumMemoryMib = input.minimumMemoryMib ?? DEFAULT_BASELINE_MIB;
  const baseImageVersion = baseVersion(input, managed);
  if (parseS3Uri(input.codeArtifactUri) === undefined) throw codeArtifactNotS3();
  if (microvmSize(minimumMemoryMib) === undefined) {
    const supported = MICROVM_SIZES.map(({ baselineMib }) => baselineMib);
    throw memorySizeUnsupported(minimumMemoryMib, input.baseImageArn, supported);
  }
  if (usesLifecycleHooks(input.hooks) && input.hooks?.microvmImageHooks?.ready !== 'ENABLED') throw readyHookRequired();
  return { ...input, baseImageVersion, minimumMemoryMib, egressConnectors: egressConnectors(input.egressConnectors, realm) };
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

function usesLifecycleHooks(hooks: HooksConfig | null): boolean {
  const { run, resume, suspend, terminate } = hooks?.microvmHooks ?? {};
  return [run, resume, suspend, terminate].includes('ENABLED');
}

function egressConnectors(given: readonly string[] | null, realm: Realm): readonly string[] {
  // An empty list means the same as none (section 1.3).
  if (given === null || given.length === 0) return [managedConnectorArn(realm, 'INTERNET_EGRESS')];
  for (const arn of given) {
    if (!CONNECTOR_ARN.test(arn)) throw connectorMalformed();
    // One that a customer made is looked up by the store as it writes the version.
    if (managedConnectorOf(arn) !== 'INTERNET_EGRESS' && customerConnectorOf(arn) === undefined) throw connectorUnknown(arn);
  }
  return given;
}
