/**
 * The catalogue of exceptions of the Lambda surface: contract reference, section 1.5, and what the protocol itself
 * refuses before an operation is reached.
 */
import { z } from 'zod';

/**
 * Exception name → status and the members that AWS sends besides `message` (as explicit nulls where they are not known).
 * `messageMember` is how the member is written: AWS's deserialiser says `Message` (section 1.3, `Expected null`).
 */
export const EXCEPTIONS = {
  // Modelled: section 1.5.
  AccessDeniedException: { status: 403, members: [], messageMember: 'message' },
  ConflictException: { status: 409, members: ['resourceId', 'resourceType'], messageMember: 'message' },
  InsufficientCapacityException: { status: 500, members: [], messageMember: 'message' },
  InternalServerException: { status: 500, members: [], messageMember: 'message' },
  InvalidParameterValueException: { status: 400, members: ['Type'], messageMember: 'message' },
  NetworkConnectorLimitExceededException: { status: 400, members: ['Type'], messageMember: 'message' },
  ResourceConflictException: { status: 409, members: ['Type'], messageMember: 'message' },
  ResourceNotFoundException: { status: 404, members: ['resourceId', 'resourceType'], messageMember: 'message' },
  ServiceException: { status: 500, members: ['Type'], messageMember: 'message' },
  ServiceQuotaExceededException: {
    status: 402,
    members: ['resourceId', 'resourceType', 'serviceCode', 'quotaCode'],
    messageMember: 'message',
  },
  ThrottlingException: { status: 429, members: ['serviceCode', 'quotaCode'], messageMember: 'message' },
  TooManyRequestsException: { status: 429, members: ['Type'], messageMember: 'message' },
  ValidationException: { status: 400, members: [], messageMember: 'message' },
  // Common errors of AWS's front door ("Common error types" of every AWS API reference).
  ExpiredTokenException: { status: 403, members: [], messageMember: 'message' },
  IncompleteSignatureException: { status: 403, members: [], messageMember: 'message' },
  InvalidSignatureException: { status: 403, members: [], messageMember: 'message' },
  MissingAuthenticationTokenException: { status: 403, members: [], messageMember: 'message' },
  UnrecognizedClientException: { status: 403, members: [], messageMember: 'message' },
  // The restJson1 protocol.
  SerializationException: { status: 400, members: [], messageMember: 'Message' },
  UnknownOperationException: { status: 404, members: [], messageMember: 'message' },
  MethodNotAllowedException: { status: 405, members: [], messageMember: 'message' },
  RequestTimeoutException: { status: 408, members: [], messageMember: 'message' },
  RequestEntityTooLargeException: { status: 413, members: [], messageMember: 'message' },
  UnsupportedMediaTypeException: { status: 415, members: [], messageMember: 'message' },
  RequestHeaderSectionTooLargeException: { status: 431, members: [], messageMember: 'message' },
} as const satisfies Record<string, ErrorShape>;

interface ErrorShape {
  readonly status: number;
  readonly members: readonly string[];
  readonly messageMember: 'message' | 'Message';
}

export type ExceptionName = keyof typeof EXCEPTIONS;

/** The paths of Lambda that speak of errors each in their own way. */
export type ErrorFamily = 'microvms' | 'tags' | 'connectors';

const OLDER_NAMES: Partial<Record<ExceptionName, ExceptionName>> = {
  ValidationException: 'InvalidParameterValueException',
  ConflictException: 'ResourceConflictException',
  ThrottlingException: 'TooManyRequestsException',
  InternalServerException: 'ServiceException',
};

/** What the older families call the same refusals and how they write them: sections 1.2 (tags), 1.10 and 1.12 (connectors). */
const DIALECTS: {
  readonly [F in ErrorFamily]: {
    readonly names: Partial<Record<ExceptionName, ExceptionName>>;
    readonly shapes: Partial<Record<ExceptionName, ErrorShape>>;
  };
} = {
  microvms: { names: {}, shapes: {} },
  tags: { names: OLDER_NAMES, shapes: {} },
  connectors: {
    names: { ...OLDER_NAMES, ServiceQuotaExceededException: 'NetworkConnectorLimitExceededException' },
    shapes: {
      ResourceNotFoundException: { status: 404, members: ['Type'], messageMember: 'Message' },
      ServiceException: { status: 500, members: ['Type'], messageMember: 'Message' },
      TooManyRequestsException: { status: 429, members: ['Type', 'Reason'], messageMember: 'message' },
    },
  },
};

/** Members that are known where a family has them: whose fault it was (as the older Lambda API writes it), which limit it was. */
const knownMembers = (status: number) => ({ Type: status < 500 ? 'User' : 'Service', Reason: 'CallerRateLimitExceeded' });

/** A refusal as the wire knows it. `wireMessage` null is AWS's answer to what it cannot parse: 400 `{"message":null}`. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly exception: ExceptionName;
  readonly wireMessage: string | null;
  readonly subject: { readonly resourceType: string; readonly resourceId: string } | undefined;
  readonly retryAfterSeconds: number | undefined;
  readonly quota: { readonly serviceCode: string; readonly quotaCode: string } | undefined;

  constructor(
    exception: ExceptionName,
    message: string | null,
    options: {
      subject?: { readonly resourceType: string; readonly resourceId: string } | undefined;
      retryAfterSeconds?: number;
      quota?: { readonly serviceCode: string; readonly quotaCode: string } | undefined;
      cause?: unknown;
    } = {},
  ) {
    super(message ?? 'the request cannot be parsed', options.cause === undefined ? undefined : { cause: options.cause });
    this.exception = exception;
    this.wireMessage = message;
    this.subject = options.subject;
    this.retryAfterSeconds = options.retryAfterSeconds;
    this.quota = options.quota;
  }
}

/** Section 1.5: what cannot be parsed at all answers 400 `{"message":null}`. */
export const unparseable = (cause?: unknown) => new ApiError('SerializationException', null, { cause });

/** An answer ready to be sent. */
export interface RenderedError {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Renders a refusal: JSON body with AWS's explicit nulls, `X-Amzn-Errortype`, `Retry-After` where it is known. */
export function renderError(error: ApiError, family: ErrorFamily = 'microvms'): RenderedError {
  const { names, shapes } = DIALECTS[family];
  const exception = names[error.exception] ?? error.exception;
  const { status, members, messageMember } = shapes[exception] ?? EXCEPTIONS[exception];
  const known: Partial<Record<string, string>> = knownMembers(status);
  const detail: Record<string, string | null> = {};
  for (const member of members) detail[member] = known[member] ?? null;
  if (error.subject !== undefined && 'resourceId' in detail) Object.assign(detail, error.subject);
  if (error.quota !== undefined && 'quotaCode' in detail) Object.assign(detail, error.quota);
  const message = error.wireMessage === null ? { message: null } : { [messageMember]: error.wireMessage };
  return {
    status,
    headers: {
      'content-type': 'application/json',
      'x-amzn-errortype': exception,
      ...(error.retryAfterSeconds === undefined ? {} : { 'retry-after': String(error.retryAfterSeconds) }),
    },
    body: JSON.stringify({ ...message, ...detail }),
  };
}

const errorBody = z.looseObject({
  message: z.string().nullish(),
  Message: z.string().nullish(),
  __type: z.string().nullish(),
  code: z.string().nullish(),
});

/** What a client learns from an answer whose status is not 2xx. */
export interface ParsedError {
  readonly status: number;
  /** The exception's name, as far as the answer says one. */
  readonly exception: string | undefined;
  readonly message: string;
  readonly requestId: string | undefined;
}

/** Reads an error answer as AWS's SDKs do (appendix A): type from the header, `__type` or `code`; `message` or `Message`. */
export function parseError(answer: { status: number; headers: Readonly<Record<string, string | undefined>>; body: string }): ParsedError {
  const parsed = errorBody.safeParse(jsonOrUndefined(answer.body));
  const body = parsed.success ? parsed.data : {};
  const type = answer.headers['x-amzn-errortype'] ?? body.__type ?? body.code ?? undefined;
  return {
    status: answer.status,
    exception: type?.split(':')[0]?.split('#').at(-1),
    message: body.message ?? body.Message ?? `HTTP status ${answer.status}`,
    requestId: answer.headers['x-amzn-requestid'],
  };
}

function jsonOrUndefined(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
