/**
 * The services beside Lambda and S3 whose requests name an action (STS and IAM by the query protocol, CloudWatch Logs and
 * Service Quotas by JSON 1.1): what an action is, and how a refusal is worded.
 */
import type { z } from 'zod';
import { parseInput } from '../contract/constraints.ts';
import { ApiError, EXCEPTIONS } from '../contract/exceptions.ts';
import type { ServiceAction as ActionContract } from '../contract/service.ts';
import type { ControlPlane } from '../control/control-plane.ts';
import type { ErrorKind } from '../domain/errors.ts';
import { isLullError } from '../domain/errors.ts';
import type { Realm } from '../domain/ids.ts';
import type { Authenticator, Principal } from './authentication.ts';
import { lambdaError } from './lambda-errors.ts';
import type { BodyLimits } from './request-body.ts';

/** What the handlers of all services need. */
export interface ServiceContext {
  readonly control: ControlPlane;
  readonly realm: Realm;
}

/** One call: who made it, and with what. */
export interface ServiceCall extends ServiceContext {
  readonly caller: Principal;
}

/** An action ready to be called with the members of a request; undefined where it answers nothing. */
export type BoundAction = (members: Readonly<Record<string, unknown>>, call: ServiceCall) => Promise<object | undefined>;

/** Code of the service for each way to be refused. */
export type ServiceErrorCodes = { readonly [K in ErrorKind]: string };

/** A service as a surface serves it. */
export interface BoundService<C> {
  readonly contract: C;
  readonly actions: ReadonlyMap<string, BoundAction>;
  readonly errorCodes: ServiceErrorCodes;
}

/** What a surface of such a service is made of. */
export interface ServiceSurface<C> {
  readonly service: BoundService<C>;
  readonly authenticator: Authenticator;
  readonly context: ServiceContext;
  readonly bodyLimits: BodyLimits;
}

/** Joins an action's contract and its handler. */
export function bind<I, A extends object | undefined>(
  { input }: ActionContract<z.ZodType<I>, z.ZodType<A>>,
  handler: (input: I, call: ServiceCall) => Promise<A>,
): BoundAction {
  return async (members, call) => handler(parseInput(input, members), call);
}

/** A refusal as both protocols carry it. */
export interface ServiceRefusal {
  readonly code: string;
  /** The exception of the protocol's own layer (signature, parsing), where it is one of those. */
  readonly isProtocol: boolean;
  readonly status: number;
  readonly message: string;
  /** For the log, where it is no refusal but a failure. */
  readonly cause: unknown;
}

const STATUS_OF: { readonly [K in ErrorKind]: number } = {
  validation: 400,
  'access-denied': 403,
  'not-found': 404,
  conflict: 409,
  'quota-exceeded': 409,
  'insufficient-capacity': 503,
  throttled: 400,
  internal: 500,
};

/** What was thrown, with the service's own code. What is not ours to show is `internal` without details. */
export function serviceRefusal(error: unknown, codes: ServiceErrorCodes): ServiceRefusal {
  if (isLullError(error)) {
    return { code: error.awsCode ?? codes[error.kind], isProtocol: false, status: STATUS_OF[error.kind], message: error.message, cause: error.cause ?? error };
  }
  const refusal: ApiError = lambdaError(error);
  const { message, cause } = refusal;
  if (refusal.exception === 'ValidationException') return { code: codes.validation, isProtocol: false, status: 400, message, cause };
  if (refusal.exception === 'InternalServerException') return { code: codes.internal, isProtocol: false, status: 500, message, cause };
  return { code: refusal.exception, isProtocol: true, status: EXCEPTIONS[refusal.exception].status, message, cause };
}

/** What is left of a body that was refused half-way is not worth reading. */
export const endsConnection = (status: number) => status === 408 || status === 413;
