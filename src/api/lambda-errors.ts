/** What goes wrong, in the words of the Lambda surface: contract reference, sections 1.5 and 1.6. */
import { ApiError, unparseable } from '../contract/exceptions.ts';
import type { ExceptionName } from '../contract/exceptions.ts';
import type { ErrorKind } from '../domain/errors.ts';
import { isLullError } from '../domain/errors.ts';
import { QUOTA_SERVICE_CODE } from '../domain/quotas.ts';
import { AuthFailure } from './authentication.ts';
import type { AuthReason } from './authentication.ts';

/** Section 1.5. */
const EXCEPTION_OF: { readonly [K in ErrorKind]: ExceptionName } = {
  validation: 'ValidationException',
  'access-denied': 'AccessDeniedException',
  'not-found': 'ResourceNotFoundException',
  conflict: 'ConflictException',
  'quota-exceeded': 'ServiceQuotaExceededException',
  'insufficient-capacity': 'InsufficientCapacityException',
  throttled: 'ThrottlingException',
  internal: 'InternalServerException',
};

/** Seconds that a throttled client is told to wait: section 14 knows no value of AWS's. */
const THROTTLE_SECONDS = 1;

const MISMATCH =
  'The request signature we calculated does not match the signature you provided. ' +
  'Check your AWS Secret Access Key and signing method. Consult the service documentation for details.';

/** The common errors of AWS's front door, as its services word them. */
const AUTH_ERRORS: { readonly [R in AuthReason]: { exception: ExceptionName; text: (detail: string) => string } } = {
  missing: { exception: 'MissingAuthenticationTokenException', text: () => 'Missing Authentication Token' },
  'two-mechanisms': {
    exception: 'IncompleteSignatureException',
    text: () => 'Only one auth mechanism allowed: an Authorization header or query parameters.',
  },
  'unsupported-algorithm': {
    exception: 'IncompleteSignatureException',
    text: (detail) => `Unsupported AWS 'algorithm': '${detail}'.`,
  },
  incomplete: { exception: 'IncompleteSignatureException', text: (detail) => detail },
  'unknown-key': {
    exception: 'UnrecognizedClientException',
    text: () => 'The security token included in the request is invalid.',
  },
  'token-missing': {
    exception: 'UnrecognizedClientException',
    text: () => 'The security token included in the request is invalid.',
  },
  'token-invalid': {
    exception: 'UnrecognizedClientException',
    text: () => 'The security token included in the request is invalid.',
  },
  'token-expired': { exception: 'ExpiredTokenException', text: () => 'The security token included in the request is expired' },
  'wrong-region': { exception: 'InvalidSignatureException', text: () => 'Credential should be scoped to a valid region.' },
  'wrong-service': {
    exception: 'InvalidSignatureException',
    text: (detail) => `Credential should be scoped to correct service: '${detail}'.`,
  },
  'wrong-terminator': {
    exception: 'InvalidSignatureException',
    text: (detail) => `Credential should be scoped with a valid terminator: 'aws4_request', not '${detail}'.`,
  },
  'date-mismatch': {
    exception: 'InvalidSignatureException',
    text: (detail) => `Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: ${detail}`,
  },
  'too-old': { exception: 'InvalidSignatureException', text: (detail) => `Signature expired: ${detail}` },
  'too-new': { exception: 'InvalidSignatureException', text: (detail) => `Signature not yet current: ${detail}` },
  expired: { exception: 'InvalidSignatureException', text: (detail) => `Signature expired: the URL was valid until ${detail}` },
  'host-not-signed': {
    exception: 'InvalidSignatureException',
    text: () => `'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.`,
  },
  'headers-not-signed': {
    exception: 'InvalidSignatureException',
    text: (detail) => `There were headers present in the request which were not signed: ${detail}`,
  },
  mismatch: { exception: 'InvalidSignatureException', text: () => MISMATCH },
  'not-permitted': {
    exception: 'AccessDeniedException',
    text: (detail) => `User: ${detail} is not authorized to perform this action: the role of a microVM reaches S3 only.`,
  },
};

/** Turns whatever was thrown into a refusal of the wire. What is not ours to show becomes `InternalServerException` without details. */
export function lambdaError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof AuthFailure) {
    const { exception, text } = AUTH_ERRORS[error.reason];
    return new ApiError(exception, text(error.detail));
  }
  if (isLullError(error)) {
    return new ApiError(EXCEPTION_OF[error.kind], error.message, {
      subject: error.subject,
      quota: error.quotaCode === undefined ? undefined : { serviceCode: QUOTA_SERVICE_CODE, quotaCode: error.quotaCode },
      cause: error.cause,
      ...(error.kind === 'throttled' ? { retryAfterSeconds: THROTTLE_SECONDS } : {}),
    });
  }
  if (isClientFault(error)) return unparseable(error);
  return new ApiError('InternalServerException', 'Lull failed; its log has the cause under this request id.', { cause: error });
}

/** What the HTTP framework itself refuses (a broken content-length, a URL that cannot be decoded). */
function isClientFault(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false;
  const status: unknown = Reflect.get(error, 'statusCode');
  const code: unknown = Reflect.get(error, 'code');
  return typeof code === 'string' && code.startsWith('FST_ERR') && typeof status === 'number' && status < 500;
}
