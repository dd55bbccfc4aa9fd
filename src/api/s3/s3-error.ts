/** What goes wrong in the object store, as S3 words it: Amazon S3 API Reference, "Error responses". */
import type { ErrorKind } from '../../domain/errors.ts';
import { isLullError } from '../../domain/errors.ts';
import { AuthFailure } from '../authentication.ts';
import type { AuthReason } from '../authentication.ts';
import { element, xmlDocument } from './xml.ts';

/** Code → status and the text that S3 sends with it. */
export const S3_ERRORS = {
  AccessDenied: { status: 403, message: 'Access Denied' },
  AuthorizationHeaderMalformed: { status: 400, message: 'The authorization header that you provided is not valid.' },
  AuthorizationQueryParametersError: { status: 400, message: 'The authorization query parameters that you provided are not valid.' },
  BadDigest: { status: 400, message: 'The Content-MD5 or checksum value that you specified did not match what the server received.' },
  BucketAlreadyOwnedByYou: {
    status: 409,
    message: 'Your previous request to create the named bucket succeeded and you already own it.',
  },
  BucketNotEmpty: { status: 409, message: 'The bucket you tried to delete is not empty.' },
  EntityTooSmall: { status: 400, message: 'Your proposed upload is smaller than the minimum allowed size' },
  EntityTooLarge: { status: 400, message: 'Your proposed upload exceeds the maximum allowed size' },
  ExpiredToken: { status: 400, message: 'The provided token has expired.' },
  IllegalLocationConstraintException: {
    status: 400,
    message: 'The unspecified location constraint is incompatible for the region specific endpoint this request was sent to.',
  },
  IncompleteBody: {
    status: 400,
    message: 'You did not provide the number of bytes specified by the Content-Length HTTP header',
  },
  InternalError: { status: 500, message: 'We encountered an internal error. Please try again.' },
  InvalidAccessKeyId: { status: 403, message: 'The AWS Access Key Id you provided does not exist in our records.' },
  InvalidArgument: { status: 400, message: 'Invalid Argument' },
  InvalidBucketName: { status: 400, message: 'The specified bucket is not valid.' },
  InvalidDigest: { status: 400, message: 'The Content-MD5 you specified was invalid.' },
  InvalidPart: {
    status: 400,
    message:
      "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag.",
  },
  InvalidPartNumber: { status: 416, message: 'The requested partnumber is not satisfiable' },
  InvalidPartOrder: {
    status: 400,
    message: 'The list of parts was not in ascending order. Parts must be ordered by part number.',
  },
  InvalidRange: { status: 416, message: 'The requested range is not satisfiable' },
  InvalidRequest: { status: 400, message: 'Invalid Request' },
  InvalidStorageClass: { status: 400, message: 'The storage class you specified is not valid' },
  InvalidToken: { status: 400, message: 'The provided token is malformed or otherwise invalid.' },
  InvalidURI: { status: 400, message: "Couldn't parse the specified URI." },
  KeyTooLongError: { status: 400, message: 'Your key is too long' },
  MalformedXML: {
    status: 400,
    message: 'The XML you provided was not well-formed or did not validate against our published schema',
  },
  MalformedTrailerError: { status: 400, message: 'The request contained trailing data that was not well-formed or did not conform to our published schema.' },
  MetadataTooLarge: { status: 400, message: 'Your metadata headers exceed the maximum allowed metadata size' },
  MethodNotAllowed: { status: 405, message: 'The specified method is not allowed against this resource.' },
  MissingContentLength: { status: 411, message: 'You must provide the Content-Length HTTP header.' },
  NoSuchBucket: { status: 404, message: 'The specified bucket does not exist' },
  NoSuchKey: { status: 404, message: 'The specified key does not exist.' },
  NoSuchPublicAccessBlockConfiguration: { status: 404, message: 'The public access block configuration was not found' },
  NoSuchUpload: {
    status: 404,
    message: 'The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.',
  },
  NotImplemented: { status: 501, message: 'A header or query you provided implies functionality that is not implemented.' },
  PreconditionFailed: { status: 412, message: 'At least one of the pre-conditions you specified did not hold' },
  RequestTimeTooSkewed: { status: 403, message: 'The difference between the request time and the current time is too large.' },
  RequestTimeout: {
    status: 400,
    message: 'Your socket connection to the server was not read from or written to within the timeout period.',
  },
  SignatureDoesNotMatch: {
    status: 403,
    message:
      'The request signature we calculated does not match the signature you provided. Check your key and signing method.',
  },
  SlowDown: { status: 503, message: 'Please reduce your request rate.' },
  XAmzContentSHA256Mismatch: {
    status: 400,
    message: "The provided 'x-amz-content-sha256' header does not match what was computed.",
  },
} as const satisfies Record<string, { readonly status: number; readonly message: string }>;

export type S3ErrorCode = keyof typeof S3_ERRORS;

/** A refusal of the object store. */
export class S3Error extends Error {
  override readonly name = 'S3Error';
  readonly code: S3ErrorCode;
  /** Further elements of the answer (`Region`, `BucketName`, …). */
  readonly detail: Readonly<Record<string, string>>;

  constructor(code: S3ErrorCode, options: { message?: string; detail?: Readonly<Record<string, string>>; cause?: unknown } = {}) {
    super(options.message ?? S3_ERRORS[code].message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.detail = options.detail ?? {};
  }
}

const AUTH_CODES: { readonly [R in AuthReason]: (detail: string, byQuery: boolean) => S3Error } = {
  missing: () => new S3Error('AccessDenied'),
  'two-mechanisms': () =>
    new S3Error('InvalidArgument', {
      message: 'Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string parameter or the Authorization header should be specified',
    }),
  'unsupported-algorithm': (_detail, byQuery) =>
    byQuery
      ? malformed(byQuery, 'X-Amz-Algorithm only supports "AWS4-HMAC-SHA256"')
      : new S3Error('InvalidRequest', {
          message: 'The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.',
        }),
  incomplete: (detail, byQuery) => malformed(byQuery, detail),
  'unknown-key': (detail) => new S3Error('InvalidAccessKeyId', { detail: { AWSAccessKeyId: detail } }),
  'token-missing': (detail) => new S3Error('InvalidAccessKeyId', { detail: { AWSAccessKeyId: detail } }),
  'token-invalid': () => new S3Error('InvalidToken'),
  'token-expired': () => new S3Error('ExpiredToken'),
  'wrong-region': (detail, byQuery) => malformed(byQuery, `the region '${detail}' is wrong`),
  'wrong-service': (detail, byQuery) => malformed(byQuery, `incorrect service: this endpoint belongs to "${detail}".`),
  'wrong-terminator': (detail, byQuery) => malformed(byQuery, `incorrect terminal "${detail}". This endpoint uses "aws4_request".`),
  'date-mismatch': (detail, byQuery) => malformed(byQuery, `Invalid credential date: ${detail}`),
  'too-old': () => new S3Error('RequestTimeTooSkewed'),
  'too-new': (_detail, byQuery) =>
    byQuery ? new S3Error('AccessDenied', { message: 'Request is not yet valid' }) : new S3Error('RequestTimeTooSkewed'),
  expired: (detail) => new S3Error('AccessDenied', { message: 'Request has expired', detail: { Expires: detail } }),
  'host-not-signed': () => new S3Error('AccessDenied', { message: "The 'host' header must be signed" }),
  'headers-not-signed': (detail) =>
    new S3Error('AccessDenied', {
      message: 'There were headers present in the request which were not signed',
      detail: { HeadersNotSigned: detail },
    }),
  mismatch: () => new S3Error('SignatureDoesNotMatch'),
  'not-permitted': () => new S3Error('AccessDenied'),
};

const malformed = (byQuery: boolean, detail: string) =>
  byQuery
    ? new S3Error('AuthorizationQueryParametersError', { message: detail })
    : new S3Error('AuthorizationHeaderMalformed', { message: `The authorization header is malformed; ${detail}` });

const CODE_OF: { readonly [K in ErrorKind]: S3ErrorCode } = {
  validation: 'InvalidArgument',
  'access-denied': 'AccessDenied',
  'not-found': 'NoSuchKey',
  conflict: 'InvalidRequest',
  'quota-exceeded': 'EntityTooLarge',
  'insufficient-capacity': 'SlowDown',
  throttled: 'SlowDown',
  internal: 'InternalError',
};

/** Turns whatever was thrown into an S3 error; what is not ours to show becomes `InternalError` without details. */
export function s3Error(error: unknown, byQuery = false): S3Error {
  if (error instanceof S3Error) return error;
  if (error instanceof AuthFailure) return AUTH_CODES[error.reason](error.detail, byQuery);
  if (isLullError(error)) return new S3Error(CODE_OF[error.kind], { message: error.message, cause: error.cause });
  return new S3Error('InternalError', { cause: error });
}

/** The XML of an error. */
export function renderS3Error(error: S3Error, about: { resource: string; requestId: string }): string {
  const detail = Object.entries(error.detail).map(([name, value]) => element(name, value));
  return xmlDocument(
    'Error',
    [element('Code', error.code), element('Message', error.message), ...detail, element('Resource', about.resource), element('RequestId', about.requestId)].join(''),
    { namespace: null },
  );
}
