/**
 * What a request is about: path style or virtual-host style (S3 User Guide, "Virtual hosting of general purpose buckets"). Paths are
 * read as received: a key such as `../x` is a key.
 */
import { queryPairs } from '../../lib/sigv4.ts';
import { S3Error } from './s3-error.ts';

/** What a request names. Keys are data, never paths. */
export type S3Target =
  | { readonly kind: 'service' }
  | { readonly kind: 'bucket'; readonly bucket: string }
  | { readonly kind: 'object'; readonly bucket: string; readonly key: string };

/** The parts of a request that name its target. */
export interface TargetSource {
  readonly path: string;
  readonly query: string;
  /** The `Host` header. */
  readonly host: string;
}

/**
 * @param apiHosts names under which the API is reached; a bucket may stand before one of them
 * @throws S3Error InvalidURI
 */
export function parseTarget({ path, query, host }: TargetSource, apiHosts: readonly string[]): { target: S3Target; query: ReadonlyMap<string, string> } {
  if (!path.startsWith('/')) throw new S3Error('InvalidURI');
  try {
    const pairs = new Map(queryPairs(query));
    const bucket = bucketOfHost(host, apiHosts);
    return { target: bucket === undefined ? pathStyle(path) : targetOf(bucket, decodeURIComponent(path.slice(1))), query: pairs };
  } catch (cause) {
    throw new S3Error('InvalidURI', { cause });
  }
}

function pathStyle(path: string): S3Target {
  const slash = path.indexOf('/', 1);
  if (slash < 0) return targetOf(decodeURIComponent(path.slice(1)), '');
  return targetOf(decodeURIComponent(path.slice(1, slash)), decodeURIComponent(path.slice(slash + 1)));
}

function targetOf(bucket: string, key: string): S3Target {
  if (key !== '') return { kind: 'object', bucket, key };
  return bucket === '' ? { kind: 'service' } : { kind: 'bucket', bucket };
}

/** The longest name of the API decides: `s3.localhost` is not the bucket `s3` of `localhost`. */
function bucketOfHost(host: string, apiHosts: readonly string[]): string | undefined {
  const name = host.replace(/:\d{1,5}$/, '').toLowerCase();
  if (apiHosts.includes(name)) return undefined;
  const [suffix] = apiHosts.map((apiHost) => `.${apiHost}`).filter((ending) => name.endsWith(ending)).toSorted((a, b) => b.length - a.length);
  const bucket = suffix === undefined ? '' : name.slice(0, -suffix.length);
  return bucket === '' ? undefined : bucket;
}
