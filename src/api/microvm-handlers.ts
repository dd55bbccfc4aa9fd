/** Handlers of the MicroVM operations: contract reference, section 1.3. */
import { AUTH_TOKEN_KEY } from '../contract/microvms.ts';
import type { OperationInput } from '../contract/operations.ts';
import type { EndpointClaims } from '../domain/ports.ts';
import { imageArn, imageNameOf, parseImageArn } from '../domain/ids.ts';
import { ApiError } from '../contract/exceptions.ts';
import type { HandlersOf } from './handlers.ts';
import { nextToken, pageRequest } from './page-token.ts';
import { renderMicrovm, renderMicrovmItem } from './render-microvm.ts';

type MicrovmOperation =
  | 'RunMicrovm'
  | 'GetMicrovm'
  | 'ListMicrovms'
  | 'SuspendMicrovm'
  | 'ResumeMicrovm'
  | 'TerminateMicrovm'
  | 'CreateMicrovmAuthToken'
  | 'CreateMicrovmShellAuthToken';

/** `[]` means the same as left out: section 1.3. */
const orDefault = (connectors: readonly string[] | null) => (connectors === null || connectors.length === 0 ? null : connectors);

const ALL_PORTS = { from: 1, to: 65_535 } as const;

type PortSpecification = OperationInput<'CreateMicrovmAuthToken'>['allowedPorts'][number];

function portRange({ port, range }: PortSpecification): EndpointClaims['ports'][number] {
  if (port !== undefined) return { from: port, to: port };
  if (range === undefined) return ALL_PORTS;
  if (range.startPort <= range.endPort) return { from: range.startPort, to: range.endPort };
  throw new ApiError('ValidationException', `Invalid port range: startPort ${range.startPort} is greater than endPort ${range.endPort}.`);
}

export const microvmHandlers: HandlersOf<MicrovmOperation> = {
  async RunMicrovm(input, { control, endpointHost }) {
    const microvm = await control.microvms.run({
      imageIdentifier: input.imageIdentifier,
      imageVersion: input.imageVersion,
      executionRoleArn: input.executionRoleArn,
      idlePolicy: input.idlePolicy,
      maximumDurationSeconds: input.maximumDurationInSeconds,
      runHookPayload: input.runHookPayload,
      ingressConnectors: orDefault(input.ingressNetworkConnectors),
      egressConnectors: orDefault(input.egressNetworkConnectors),
      logging: input.logging,
      clientToken: input.clientToken,
    });
    return renderMicrovm(microvm, endpointHost(microvm.endpointId));
  },

  async GetMicrovm({ microvmIdentifier }, { control, endpointHost }) {
    const microvm = await control.microvms.get(microvmIdentifier);
    return renderMicrovm(microvm, endpointHost(microvm.endpointId));
  },

  async ListMicrovms(input, { control, realm }) {
    const identifier = input.imageIdentifier;
    const arn =
      identifier === undefined || parseImageArn(identifier) !== undefined ? identifier : imageArn(realm, imageNameOf(identifier));
    const page = await control.microvms.list({ imageArn: arn, imageVersion: input.imageVersion }, pageRequest('ListMicrovms', input));
    return { items: page.items.map(renderMicrovmItem), nextToken: nextToken('ListMicrovms', page.next) };
  },

  async SuspendMicrovm({ microvmIdentifier }, { control }) {
    await control.microvms.suspend(microvmIdentifier);
    return {};
  },

  async ResumeMicrovm({ microvmIdentifier }, { control }) {
    await control.microvms.resume(microvmIdentifier);
    return {};
  },

  async TerminateMicrovm({ microvmIdentifier }, { control }) {
    await control.microvms.terminate(microvmIdentifier);
    return {};
  },

  async CreateMicrovmAuthToken(input, { control }) {
    const token = await control.microvms.createAuthToken({
      microvmId: input.microvmIdentifier,
      expirationMinutes: input.expirationInMinutes,
      ports: input.allowedPorts.map(portRange),
    });
    return { authToken: { [AUTH_TOKEN_KEY]: token } };
  },

  async CreateMicrovmShellAuthToken({ microvmIdentifier, expirationInMinutes }, { control }) {
    const token = await control.microvms.createShellAuthToken({ microvmId: microvmIdentifier, expirationMinutes: expirationInMinutes });
    return { authToken: { [AUTH_TOKEN_KEY]: token } };
  },
};
