/** How a service is described whose requests name an action: by the query protocol (STS, IAM) or by JSON 1.1 (Logs, Service Quotas). */
import { z } from 'zod';

/** One action on the wire. An answer of `z.undefined()` is one without a body of its own. */
export interface ServiceAction<I extends z.ZodType = z.ZodType, A extends z.ZodType = z.ZodType> {
  readonly input: I;
  readonly answer: A;
}

/** The answer of an action that has none. */
export const nothing = z.undefined();

/** Describes one action. */
export const action = <I extends z.ZodType, A extends z.ZodType>(input: I, answer: A) => ({ input, answer }) satisfies ServiceAction;

/** Smithy, "AWS query protocol": `Action=…&Version=…` in a form or a query, XML back. Names of inputs begin in lower case, as AWS's texts show them. */
export interface QueryServiceContract {
  readonly signingName: string;
  readonly version: string;
  readonly namespace: string;
  readonly actions: Readonly<Record<string, ServiceAction>>;
}

/** Smithy, "AWS JSON 1.1 protocol": `X-Amz-Target: <targetPrefix>.<Action>`, JSON both ways. */
export interface JsonServiceContract {
  readonly signingName: string;
  readonly targetPrefix: string;
  readonly actions: Readonly<Record<string, ServiceAction>>;
}
