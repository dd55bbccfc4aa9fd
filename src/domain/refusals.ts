/**
 * The refusals whose texts AWS's clients know, word for word as recorded. The section of
 * `aws-lambda-microvms.md` (the contract reference) stands beside each.
 */
import { LullError } from './errors.ts';
import { QUOTAS, type QuotaName } from './quotas.ts';
import { MICROVM_REQUESTS, type Microvm, type MicrovmRequest } from './microvm.ts';

/** Section 1.6. */
export const imageNotFound = (imageArn: string) =>
  new LullError('not-found', `MicroVMImage not found for MicroVMImageID: ${imageArn}`);

/** Section 1.6. */
export const imageVersionNotFound = (imageArn: string, version: string) =>
  new LullError('not-found', `MicroVMImage not found for MicroVMImage: ${imageArn}, Version: ${version}`);

/** Section 1.6. */
export const microvmNotFound = (microvmId: string) => new LullError('not-found', `MicroVM not found: ${microvmId}`);

/** Section 1.6: the image does not exist, or none of its versions (or not the pinned one) is ACTIVE. */
export const noActiveVersion = (imageArn: string, version?: string) =>
  new LullError(
    'not-found',
    `No active version found for MicroVM image ${imageArn}${version === undefined ? '' : ` and version ${version}`}`,
  );

/** Section 1.6: image operations. */
export const invalidArn = (value: string) => new LullError('validation', `Invalid ARN format: ${value}`);

/** Section 1.6: AWS's IAM takes the form for another resource, in a text that tells nothing; the words are ours. */
export const slashedArn = (arn: string) =>
  new LullError('access-denied', `The caller is not authorized to act on resource: ${arn}. The ARN of an image has a colon before the name: …:microvm-image:<name>`);

/** Section 1.6: RunMicrovm. */
export const malformedArn = () => new LullError('validation', "Malformed ARN - doesn't start with 'arn:'");

/** Section 1.6. */
export const imageNameTaken = (name: string) =>
  new LullError('validation', `A MicroVM image with the name '${name}' already exists in this account`);

/** Section 1.6, whose `…` was recorded as the ARN. */
export const imageBusy = (imageArn: string) => new LullError('validation', `Cannot delete MicroVM image in its current state: ${imageArn}`);

/** Section 2.2, "the last version cannot be deleted"; the words are those that users of AWS report. */
export const lastVersion = () => new LullError('validation', 'This is the last version. Please delete the entire image');

/** Section 1.6. */
export const imageInUse = () => new LullError('validation', 'Cannot delete microvm image with running microvms.');

/** Section 1.6: change of an image with which a build or a deletion is under way; recorded for UPDATING, ours for the other states. */
export const imageUpdating = (state = 'UPDATING') => new LullError('conflict', `MicroVM Image is already in state: ${state}`);

/** Section 1.6. */
export const microvmTerminated = (microvmId: string) =>
  new LullError('validation', `The MicroVM ${microvmId} has been terminated and its state cannot be changed.`);

/** @throws LullError in the words for what the state of the microVM makes of the request */
export function requireAllowed({ microvmId, state }: Pick<Microvm, 'microvmId' | 'state'>, request: MicrovmRequest): void {
  const answer = MICROVM_REQUESTS[state][request];
  if (answer === 'ended') throw microvmTerminated(microvmId);
  if (answer === 'conflict') throw new LullError('conflict', `The MicroVM ${microvmId} is ${state}.`);
}

/** Section 1.6. */
export const tokenTooLong = (minutes: number) =>
  new LullError('validation', `ExpirationMinutes ${minutes} exceeded max allowed of 60.`);

const quotaReached = (quota: QuotaName, message: string) => new LullError('quota-exceeded', message, { quotaCode: QUOTAS[quota].code });

/** Section 1.6. */
export const memoryQuotaReached = () =>
  quotaReached('memory', 'The base maximum allocated memory limit has been reached for this account.');

/** Section 1.6 records only that the message names the maximum. */
export const tooManyBuilds = (maximum: number) =>
  quotaReached('builds', `The maximum number of concurrent MicroVM image builds (${maximum}) has been reached.`);

/** Section 7.2 has the quota; no text is recorded. */
export const tooManyImages = (maximum: number) =>
  quotaReached('images', `The maximum number of MicroVM images (${maximum}) has been reached for this account.`);

/** Section 7.2 has the quota; no text is recorded. */
export const tooManyVersions = (imageArn: string, maximum: number) =>
  quotaReached('versions', `The maximum number of versions (${maximum}) has been reached for the MicroVM image ${imageArn}.`);

/** The words of AWS's front door; the recorded operations (section 7.2) show no other. */
export const rateExceeded = (quotaCode: string) => new LullError('throttled', 'Rate exceeded', { quotaCode });

/** Section 1.6. */
export const memorySizeUnsupported = (mib: number, baseImageArn: string, supported: readonly number[]) =>
  new LullError(
    'validation',
    `The requested memory size of ${mib} MiB is not supported by base MicroVM image ${baseImageArn}. ` +
      `Supported memory sizes in MiB are: [${supported.join(', ')}].`,
  );

/** Section 1.6. */
export const baseImageUnknown = (baseImageArn: string, version: string) =>
  new LullError('validation', `No managed MicroVM Image with arn ${baseImageArn} and version ${version} is available`);

/** Section 1.6. */
export const readyHookRequired = () =>
  new LullError(
    'validation',
    'The ready (/ready) MicroVM image hook must be enabled when any MicroVM lifecycle hook (run, resume, suspend, or terminate) is enabled.',
  );

/** Section 4: a port is required once any hook is on; the words are ours. */
export const hookPortRequired = () => new LullError('validation', 'The hooks port must be given when any hook is enabled.');

/** Section 1.6. */
export const runHookRequired = () =>
  new LullError('validation', 'The run hook must be enabled in the MicroVM image to pass the run hook payload.');

/** Section 1.6. */
export const connectorUnknown = (arn: string) =>
  new LullError('validation', `Unrecognized managed network connector ARN: ${arn}`);

/** Section 1.6. */
export const connectorMalformed = () => new LullError('validation', 'Malformed network connector ARN');

/** Section 1.12. */
export const connectorNotFound = (identifier: string) => new LullError('not-found', `Network connector not found for: ${identifier}`);

/** Ours: section 1.12 records the error, not its text. */
export const connectorNameTaken = (name: string) => new LullError('conflict', `A network connector with the name '${name}' already exists.`);

/** Ours: section 1.12 tells the rule, not its text. */
export const connectorInUse = (arn: string, user: string) =>
  new LullError('conflict', `The network connector ${arn} is in use by ${user}. Every MicroVM that uses it must be terminated first.`);

/** Section 1.6: shell token without the connector. */
export const shellIngressRequired = () =>
  new LullError('validation', 'Shell access requires SHELL_INGRESS network connector to be configured on the MicroVM.');

/** Section 1.6: told when a shell token is asked for; RunMicrovm accepts the pair. */
export const allIngressCombined = () =>
  new LullError(
    'validation',
    'ALL_INGRESS cannot be combined with other ingress network connectors; use HTTP_INGRESS and/or SHELL_INGRESS instead',
  );

/** Ours: AWS's limit on tags, in no recorded words. */
export const tooManyTags = (maximum: number) => new LullError('validation', `A resource can have at most ${maximum} tags.`);

/** Ours: AWS keeps the prefix for itself. */
export const tagKeyReserved = (key: string) => new LullError('validation', `The tag key '${key}' is not valid: keys that begin with 'aws:' are reserved.`);

/** Ours: a resource that has the form of a taggable one, of a kind or an account that is not here. */
export const taggedResourceNotFound = (arn: string) => new LullError('not-found', `The resource you requested does not exist: ${arn}`);

/** Section 1.6. */
export const codeArtifactNotS3 = () =>
  new LullError('validation', 'CodeArtifact URI must be a valid S3 URI in the format: s3://<bucket>/<key>');

/** Sections 1.3 and 1.8: a client token repeated with other parameters. */
export const clientTokenReused = (clientToken: string) =>
  new LullError('conflict', `The client token ${clientToken} has already been used with different parameters.`);

/** Ours, with `--architecture strict`: AWS has one architecture, which this host is not. */
export const architectureUnsupported = (asked: string, host: string) =>
  new LullError('validation', `cpuConfigurations ask for ${asked}, and this host builds for ${host} only: leave them out, or start the server with --architecture host.`);

/** Ours: the host's memory, not the account's limit, is exhausted. */
export const hostFull = (detail: string) => new LullError('insufficient-capacity', detail);
