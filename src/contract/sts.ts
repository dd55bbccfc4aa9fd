/** AWS Security Token Service, API version 2011-06-15: the one action that tools call to ask who they are. */
import { z } from 'zod';
import { action, type QueryServiceContract } from './service.ts';

export const STS = {
  signingName: 'sts',
  version: '2011-06-15',
  namespace: 'https://sts.amazonaws.com/doc/2011-06-15/',
  actions: {
    GetCallerIdentity: action(z.object({}), z.object({ Arn: z.string(), UserId: z.string(), Account: z.string() })),
  },
} as const satisfies QueryServiceContract;
