/** DeleteObjects: Amazon S3 API Reference. */
import { z } from 'zod';
import { xmlAnswer } from './call.ts';
import type { S3Answer, S3Call } from './call.ts';
import { LONG_DOCUMENT_BYTES, requireDocument, xmlBoolean, xmlText } from './document.ts';
import type { DocumentKind } from './document.ts';
import { requireBucket } from './reading.ts';
import { S3Error } from './s3-error.ts';
import { declaredAlgorithm } from './upload.ts';
import { removeBlobs } from './writing.ts';
import { element, wrap, xmlDocument } from './xml.ts';

const MAX_DELETED = 1000;

const namedObject = z.strictObject({ Key: xmlText.pipe(z.string().min(1)), VersionId: xmlText.optional() });
const DELETE: DocumentKind<{ Object: z.output<typeof namedObject>[]; Quiet?: boolean | undefined }> = {
  root: 'Delete',
  names: ['Object', 'Quiet', ...Object.keys(namedObject.shape)],
  maxBytes: LONG_DOCUMENT_BYTES,
  schema: z.strictObject({ Object: z.array(namedObject).min(1).max(MAX_DELETED), Quiet: xmlBoolean.optional() }),
};

/** Keys that are not there count as deleted. There are no versions, so one that names any but `null` is told so. */
export async function deleteObjects(call: S3Call<'bucket'>): Promise<S3Answer> {
  const { store, target, headers } = call;
  if (headers['content-md5'] === undefined && declaredAlgorithm(headers) === undefined) {
    throw new S3Error('InvalidRequest', { message: 'Missing required header for this request: Content-MD5 OR x-amz-checksum-*' });
  }
  const asked = await requireDocument(call, DELETE);
  await requireBucket(store, target.bucket);
  const { ours = [], versioned = [] } = Object.groupBy(asked.Object, ({ VersionId: version = 'null' }) => (version === 'null' ? 'ours' : 'versioned'));
  const keys = ours.map(({ Key: key }) => key);
  await removeBlobs(store, await store.objects.delete(target.bucket, keys));
  const deleted = asked.Quiet === true ? [] : keys.map((key) => wrap('Deleted', element('Key', key)));
  const errors = versioned.map(({ Key: key, VersionId: version = '' }) =>
    wrap('Error', element('Key', key) + element('VersionId', version) + element('Code', 'NoSuchVersion') + element('Message', 'The specified version does not exist.')),
  );
  return xmlAnswer(xmlDocument('DeleteResult', [...deleted, ...errors].join('')));
}
