/** The scenario's microVMs: launched while the image's next version is built, asleep and awake, and ended. */
import type { Json } from './client.ts';
import { recorded, type Step } from './scenario-run.ts';

/** Room for a few of the small microVMs of each client at once, and for none of the large ones. */
export const MEMORY_QUOTA_MIB = 2000;

const microvms = { service: 'lambda-microvms' } as const;
const imageIdentifier = '${imageArn}';
const absent: Json = { $absent: true };
const timestamp: Json = { $is: 'timestamp' };
const connector = (name: string) => `arn:aws:lambda:\${region}:aws:network-connector:aws-network-connector:${name}`;

const EVERYTHING = {
  imageIdentifier,
  imageVersion: '1.0',
  executionRoleArn: 'arn:aws:iam::${account}:role/execution-${client}',
  idlePolicy: { maxIdleDurationSeconds: 900, suspendedDurationSeconds: 900, autoResumeEnabled: true },
  maximumDurationInSeconds: 3600,
  runHookPayload: '{"for":"${client}"}',
  ingressNetworkConnectors: [connector('HTTP_INGRESS'), connector('SHELL_INGRESS')],
  egressNetworkConnectors: [connector('INTERNET_EGRESS')],
  logging: { cloudWatch: { logGroup: '/scenario/${client}', logStream: 'run' } },
  clientToken: 'run-${client}',
} satisfies Record<string, Json>;
const { runHookPayload: _payload, logging: _logging, clientToken: _token, imageIdentifier: _image, ...SHOWN } = EVERYTHING;

export const RUN: readonly Step[] = [
  {
    id: 'run with everything',
    ...microvms,
    operation: 'RunMicrovm',
    input: EVERYTHING,
    expect: { ...SHOWN, imageArn: '${imageArn}', state: 'PENDING', microvmId: { $matches: '^microvm-[0-9a-f-]{36}$' }, endpoint: { $is: 'string' }, startedAt: timestamp, terminatedAt: absent, stateReason: absent },
    save: { firstId: 'microvmId' },
  },
  { id: 'run again with its token', ...microvms, operation: 'RunMicrovm', input: EVERYTHING, expect: { microvmId: '${firstId}' } },
  {
    id: 'run with its token and other parameters',
    ...microvms,
    operation: 'RunMicrovm',
    input: { ...EVERYTHING, maximumDurationInSeconds: 60 },
    error: { type: 'ConflictException', status: 409, message: { $matches: 'client token' } },
  },
  {
    id: 'run with nothing',
    ...microvms,
    operation: 'RunMicrovm',
    input: { imageIdentifier, imageVersion: '1.0', logging: { disabled: {} } },
    expect: {
      maximumDurationInSeconds: 28_800,
      idlePolicy: absent,
      executionRoleArn: absent,
      ingressNetworkConnectors: [connector('HTTP_INGRESS')],
      egressNetworkConnectors: [connector('INTERNET_EGRESS')],
    },
    save: { secondId: 'microvmId' },
  },
  {
    id: 'run with every ingress',
    ...microvms,
    operation: 'RunMicrovm',
    input: { imageIdentifier, imageVersion: '1.0', ingressNetworkConnectors: [connector('ALL_INGRESS'), connector('SHELL_INGRESS')] },
    expect: { ingressNetworkConnectors: [connector('ALL_INGRESS'), connector('SHELL_INGRESS')] },
    save: { thirdId: 'microvmId' },
  },
];

/** Refused by what the image is, or is not. */
const REFUSED: readonly Step[] = [
  {
    id: 'a role that is not there',
    ...microvms,
    operation: 'RunMicrovm',
    input: { imageIdentifier, imageVersion: '1.0', executionRoleArn: 'arn:aws:iam::${account}:role/nobody' },
    error: recorded('role not assumable'),
  },
  {
    id: 'a connector that AWS does not have',
    ...microvms,
    operation: 'RunMicrovm',
    input: { imageIdentifier, egressNetworkConnectors: [connector('NO_EGRESS')] },
    error: recorded('connector unknown', { arn: connector('NO_EGRESS') }),
  },
  {
    id: 'a connector that is only a name',
    ...microvms,
    operation: 'RunMicrovm',
    input: { imageIdentifier, ingressNetworkConnectors: ['HTTP_INGRESS'] },
    error: recorded('connector malformed'),
  },
];

export const LIFE: readonly Step[] = [
  ...REFUSED,
  {
    id: 'the first runs',
    ...microvms,
    operation: 'GetMicrovm',
    input: { microvmIdentifier: '${firstId}' },
    expect: { ...SHOWN, state: 'RUNNING', microvmId: '${firstId}', imageArn: '${imageArn}', startedAt: timestamp },
    repeat: true,
  },
  ...['${secondId}', '${thirdId}'].map(
    (microvmIdentifier): Step => ({ id: `${microvmIdentifier} runs`, ...microvms, operation: 'GetMicrovm', input: { microvmIdentifier }, expect: { state: 'RUNNING' }, repeat: true }),
  ),
  {
    id: 'microVMs of the image, page by page',
    ...microvms,
    operation: 'ListMicrovms',
    input: { imageIdentifier, imageVersion: '1.0', maxResults: 2 },
    expect: { items: { $size: 2, $each: { imageArn: '${imageArn}', imageVersion: '1.0', startedAt: timestamp, microvmId: { $in: ['${firstId}', '${secondId}', '${thirdId}'] } } }, nextToken: { $is: 'string' } },
    save: { nextMicrovms: 'nextToken' },
  },
  {
    id: 'the next page of microVMs',
    ...microvms,
    operation: 'ListMicrovms',
    input: { imageIdentifier, imageVersion: '1.0', maxResults: 2, nextToken: '${nextMicrovms}' },
    expect: { items: { $size: 1 }, nextToken: absent },
  },
  {
    id: 'a token',
    ...microvms,
    operation: 'CreateMicrovmAuthToken',
    input: { microvmIdentifier: '${firstId}', expirationInMinutes: 5, allowedPorts: [{ port: 8080 }, { range: { startPort: 9000, endPort: 9010 } }] },
    expect: { authToken: { 'X-aws-proxy-auth': { $matches: '^[\\w-]+\\.[\\w-]*\\.[\\w-]+\\.[\\w-]+\\.[\\w-]+$' } } },
  },
  {
    id: 'a token for every port',
    ...microvms,
    operation: 'CreateMicrovmAuthToken',
    input: { microvmIdentifier: '${firstId}', expirationInMinutes: 60, allowedPorts: [{ allPorts: {} }] },
    expect: { authToken: { 'X-aws-proxy-auth': { $is: 'string' } } },
  },
  {
    id: 'a token for too long',
    ...microvms,
    operation: 'CreateMicrovmAuthToken',
    input: { microvmIdentifier: '${firstId}', expirationInMinutes: 61, allowedPorts: [{ port: 8080 }] },
    error: recorded('token too long', { minutes: '61' }),
  },
  {
    id: 'a token for its shell',
    ...microvms,
    operation: 'CreateMicrovmShellAuthToken',
    input: { microvmIdentifier: '${firstId}', expirationInMinutes: 5 },
    expect: { authToken: { 'X-aws-proxy-auth': { $is: 'string' } } },
  },
  {
    id: 'a token for the shell of one without',
    ...microvms,
    operation: 'CreateMicrovmShellAuthToken',
    input: { microvmIdentifier: '${secondId}', expirationInMinutes: 5 },
    error: recorded('shell without connector'),
  },
  {
    id: 'a token for the shell of one with everything',
    ...microvms,
    operation: 'CreateMicrovmShellAuthToken',
    input: { microvmIdentifier: '${thirdId}', expirationInMinutes: 5 },
    error: recorded('shell beside ALL_INGRESS'),
  },
  { id: 'end the third', ...microvms, operation: 'TerminateMicrovm', input: { microvmIdentifier: '${thirdId}' } },
  { id: 'resume what runs', ...microvms, operation: 'ResumeMicrovm', input: { microvmIdentifier: '${firstId}' } },
  { id: 'suspend the first', ...microvms, operation: 'SuspendMicrovm', input: { microvmIdentifier: '${firstId}' } },
  { id: 'the first sleeps', ...microvms, operation: 'GetMicrovm', input: { microvmIdentifier: '${firstId}' }, expect: { ...SHOWN, state: 'SUSPENDED' }, repeat: true },
  { id: 'suspend it again', ...microvms, operation: 'SuspendMicrovm', input: { microvmIdentifier: '${firstId}' } },
  {
    id: 'a token while it sleeps',
    ...microvms,
    operation: 'CreateMicrovmAuthToken',
    input: { microvmIdentifier: '${firstId}', expirationInMinutes: 1, allowedPorts: [{ port: 8080 }] },
    expect: { authToken: { 'X-aws-proxy-auth': { $is: 'string' } } },
  },
  { id: 'resume the first', ...microvms, operation: 'ResumeMicrovm', input: { microvmIdentifier: '${firstId}' } },
  { id: 'the first runs again', ...microvms, operation: 'GetMicrovm', input: { microvmIdentifier: '${firstId}' }, expect: { state: 'RUNNING' }, repeat: true },
  { id: 'suspend the second', ...microvms, operation: 'SuspendMicrovm', input: { microvmIdentifier: '${secondId}' } },
  { id: 'end the first', ...microvms, operation: 'TerminateMicrovm', input: { microvmIdentifier: '${firstId}' } },
  {
    id: 'the first has ended',
    ...microvms,
    operation: 'GetMicrovm',
    input: { microvmIdentifier: '${firstId}' },
    expect: { state: 'TERMINATED', stateReason: 'Success.', terminatedAt: timestamp },
    repeat: true,
  },
  { id: 'end it again', ...microvms, operation: 'TerminateMicrovm', input: { microvmIdentifier: '${firstId}' } },
  ...(['SuspendMicrovm', 'ResumeMicrovm'] as const).map((operation) => ({
    id: `${operation} of what has ended`,
    ...microvms,
    operation,
    input: { microvmIdentifier: '${firstId}' },
    error: recorded('microVM has ended', { id: '${firstId}' }),
  })),
  {
    id: 'a token for what has ended',
    ...microvms,
    operation: 'CreateMicrovmAuthToken',
    input: { microvmIdentifier: '${firstId}', expirationInMinutes: 1, allowedPorts: [{ port: 8080 }] },
    error: recorded('microVM has ended', { id: '${firstId}' }),
  },
];
