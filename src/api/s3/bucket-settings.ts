/**
 * What tools ask of a bucket or an object before they work with it. Buckets here have one owner and no settings, so the answers are
 * those of a new bucket; a public access block is kept, and nothing is public with or without it.
 */
import { z } from 'zod';
import { LENIENT_REGION } from './buckets.ts';
import { xmlAnswer } from './call.ts';
import type { S3Answer, S3Call, S3Request } from './call.ts';
import { SHORT_DOCUMENT_BYTES, requireDocument, xmlBoolean } from './document.ts';
import type { DocumentKind } from './document.ts';
import { findObject, requireBucket } from './reading.ts';
import { S3Error } from './s3-error.ts';
import { element, ownerElement, wrap, xmlDocument } from './xml.ts';

const SETTINGS = ['BlockPublicAcls', 'IgnorePublicAcls', 'BlockPublicPolicy', 'RestrictPublicBuckets'] as const;
type PublicAccessBlock = { readonly [S in (typeof SETTINGS)[number]]?: boolean | undefined };

const flag = xmlBoolean.optional();
const PUBLIC_ACCESS_BLOCK: DocumentKind<PublicAccessBlock> = {
  root: 'PublicAccessBlockConfiguration',
  names: SETTINGS,
  maxBytes: SHORT_DOCUMENT_BYTES,
  schema: z.strictObject({ BlockPublicAcls: flag, IgnorePublicAcls: flag, BlockPublicPolicy: flag, RestrictPublicBuckets: flag }),
};
/** What this code wrote to the store. */
const keptBlock = z.object(Object.fromEntries(SETTINGS.map((name) => [name, z.boolean().optional()])));

/** An empty element stands for us-east-1. */
export async function getBucketLocation({ store, target }: S3Call<'bucket'>): Promise<S3Answer> {
  await requireBucket(store, target.bucket);
  const { region } = store.realm;
  return xmlAnswer(xmlDocument('LocationConstraint', region === LENIENT_REGION ? '' : region));
}

/** Never switched on. */
export async function getBucketVersioning({ store, target }: S3Call<'bucket'>): Promise<S3Answer> {
  await requireBucket(store, target.bucket);
  return xmlAnswer(xmlDocument('VersioningConfiguration', ''));
}

export async function getBucketAcl({ store, target }: S3Call<'bucket'>): Promise<S3Answer> {
  await requireBucket(store, target.bucket);
  return ownersAcl(store);
}

export async function getObjectAcl(call: S3Call<'object'>): Promise<S3Answer> {
  await findObject(call, call.target);
  return ownersAcl(call.store);
}

/** Tags are not kept; a copy in parts asks for them. */
export async function getObjectTagging(call: S3Call<'object'>): Promise<S3Answer> {
  await findObject(call, call.target);
  return xmlAnswer(xmlDocument('Tagging', wrap('TagSet', '')));
}

export async function putPublicAccessBlock(call: S3Call<'bucket'>): Promise<S3Answer> {
  const { store, target } = call;
  const block = await requireDocument(call, PUBLIC_ACCESS_BLOCK);
  await requireBucket(store, target.bucket);
  await store.objects.keepPublicAccessBlock(target.bucket, JSON.stringify(block));
  return { status: 200 };
}

export async function getPublicAccessBlock({ store, target }: S3Call<'bucket'>): Promise<S3Answer> {
  await requireBucket(store, target.bucket);
  const text = await store.objects.publicAccessBlock(target.bucket);
  if (text === null) throw new S3Error('NoSuchPublicAccessBlockConfiguration', { detail: { BucketName: target.bucket } });
  const block = keptBlock.parse(JSON.parse(text));
  return xmlAnswer(xmlDocument('PublicAccessBlockConfiguration', SETTINGS.map((name) => element(name, block[name] ?? false)).join('')));
}

export async function deletePublicAccessBlock({ store, target }: S3Call<'bucket'>): Promise<S3Answer> {
  await requireBucket(store, target.bucket);
  await store.objects.keepPublicAccessBlock(target.bucket, null);
  return { status: 204 };
}

const XSI = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"';

function ownersAcl({ realm }: S3Request['store']): S3Answer {
  const grantee = `<Grantee ${XSI} xsi:type="CanonicalUser">${element('ID', realm.account)}${element('DisplayName', realm.account)}</Grantee>`;
  const grants = wrap('AccessControlList', wrap('Grant', grantee + element('Permission', 'FULL_CONTROL')));
  return xmlAnswer(xmlDocument('AccessControlPolicy', ownerElement('Owner', realm) + grants));
}
