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

/** A request's target, as it names it. */
export interface Addressed {
  readonly target: S3Target;
  readonly query: ReadonlyMap<string, string>;
  /** The target in path style, whichever style the request has; percent-encoded as sent. */
  readonly resource: string;
}

/**
 * @param apiHosts names under which the API is reached; a bucket may stand before one of them
 * @throws S3Error InvalidURI
 */
export function parseTarget({ path, query, host }: TargetSource, apiHosts: readonly string[]): Addressed {
  if (!path.startsWith('/')) throw new S3Error('InvalidURI');
  try {
    const bucket = bucketOfHost(host, apiHosts);
    const resource = bucket === undefined ? path : `/${bucket}${path}`;
    return { target: pathStyle(resource), query: new Map(queryPairs(query)), resource };
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
