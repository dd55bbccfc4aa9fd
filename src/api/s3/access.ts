/** Which buckets are open to whom. */
import { ARTIFACT_BUCKET } from '../../contract/extensions.ts';
import type { Principal } from '../authentication.ts';
import { S3Error } from './s3-error.ts';

/**
 * Every bucket is open to every key, but one: what the role of a microVM could write there would run in microVMs of other images.
 * @throws S3Error AccessDenied
 */
export function requireAccess({ kind }: Principal, bucket: string): void {
  if (kind === 'role' && bucket === ARTIFACT_BUCKET) throw new S3Error('AccessDenied');
}
