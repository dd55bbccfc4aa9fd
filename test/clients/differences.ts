/** What differs from AWS, or is not seen by the clients of the scenario, each with its reason: the right side of the compatibility page. */

export interface Difference {
  /**
   * Keys of the page: `OPERATION`, `OPERATION.input.MEMBER`, `OPERATION.output.MEMBER`, `OPERATION.errors.NAME`, `enum.NAME.VALUE`,
   * `recorded.ID`. `*` stands for any operation, and at the end for whatever follows; what a member is made of goes with it.
   */
  readonly of: string;
  /** Whether the clients saw it. */
  readonly seen: 'yes' | 'no';
  readonly because: string;
}

const differs = (of: string, because: string): Difference => ({ of, seen: 'yes', because });
const unseen = (of: string, because: string): Difference => ({ of, seen: 'no', because });
const each = (make: typeof differs, all: readonly string[], because: string) => all.map((of) => make(of, because));

const NEWER = 'newer than the contract that Lull follows (September 2026): ignored where it is sent, not in answers';
const NEWER_VALUE = 'newer than the contract that Lull follows (September 2026): refused where it is sent';
const WAITS = 'answers when it is done, not when it has begun, and waits for what is under way';
const NO_VPC = 'there is no VPC: what a connector names is kept, nothing is set up and nothing of it can fail';
const AT_ONCE = 'a connector is ACTIVE as soon as it is made, and gone as soon as it is deleted';
const OLDER_NAME = 'the older name is used, as AWS does on these paths: InvalidParameterValueException, ServiceException, TooManyRequestsException';

const OPERATIONS: readonly Difference[] = [
  ...each(differs, ['SuspendMicrovm', 'ResumeMicrovm', 'TerminateMicrovm'], WAITS),
  differs('DeleteMicrovmImage', 'ends the build of a new version too; on AWS nothing ends one. One that is not there is ResourceNotFoundException, as AWS was measured; AWS documents success'),
  differs('DeleteMicrovmImageVersion', 'ends the build of that version too, and frees its client token. Files stay while a microVM rests on them. The text for the last version is not recorded'),
  differs('ListMicrovmImageBuilds', 'one build a version: AWS builds for two generations of its processors'),
  differs('ListManagedMicrovmImages', '`al2023-1` is listed for scripts that name it; nothing of it is here. `lull-base`, `lull-python` and `lull-node` are'),
  differs('CreateNetworkConnector', 'ACTIVE at once; what it names is kept and shown, and nothing is done to packets yet. Six security groups are refused (quota of 5)'),
  differs('DeleteNetworkConnector', 'refused also while a version of an image names it; one that is not there is ResourceNotFoundException. The texts of ResourceConflictException are not recorded'),
  differs('TagResource', 'at most 50 tags, no key that begins with `aws:`; images and network connectors only'),
  unseen('ListNetworkConnectorVersions', NEWER),
];

const MEMBERS: readonly Difference[] = [
  ...each(unseen, ['*.input.kmsKeyIdentifier', '*.output.kmsKeyIdentifier', '*.output.items.kmsKeyIdentifier', '*.output.items.supportedCpuConfigurations'], NEWER),
  ...each(unseen, ['*.input.Configuration.VpcEgressConfiguration.ElasticIpConfiguration', '*.output.Configuration.VpcEgressConfiguration.ElasticIpConfiguration'], NEWER),
  ...each(unseen, ['*.output.VersionArn', '*.output.LatestVersion', '*.output.LatestVersionArn', '*.output.NetworkConnectors.LatestVersion', '*.output.NetworkConnectors.LatestVersionArn'], NEWER),
  ...each(unseen, ['CreateNetworkConnector.output.Version', 'UpdateNetworkConnector.output.Version', 'DeleteNetworkConnector.output.Version'], NEWER),
  ...each(unseen, ['GetNetworkConnector.output.StateReasonCode', 'GetNetworkConnector.output.LastUpdateStatusReasonCode'], NO_VPC),
  unseen('ListMicrovmImageBuilds.input.nextToken', 'one build a version: there is no second page'),
  differs('*.input.imageIdentifier', 'the bare name of an image is taken too'),
  differs('*.input.baseImageArn', 'must be one that ListManagedMicrovmImages shows; what is built on is what `FROM` names'),
  differs('*.input.buildRoleArn', 'must be there (IAM); the build itself needs no permissions'),
  differs('RunMicrovm.input.executionRoleArn', 'must be there (IAM); its keys, which the guest gets from its metadata service, are good for S3 and STS of this Lull only'),
  differs('*.input.resources', '128 and 256 MiB too'),
  differs('*.input.logging', 'CloudWatch Logs here has them, without an execution role too; where a stream is taken its name gets an ending'),
  differs('*.input.cpuConfigurations', "taken and shown; images are built for the host's architecture, and their log says so. `--architecture strict` refuses others"),
  differs('*.input.hooks', 'enabled ones need `port`; the text of that is not recorded'),
  differs('*.input.egressNetworkConnectors', 'kept and shown; microVMs have no network yet'),
  ...each(differs, ['*.output.architecture', '*.output.chipset', '*.output.chipsetGeneration', '*.output.items.architecture', '*.output.items.chipset', '*.output.items.chipsetGeneration'], "AWS's values, whatever the host is"),
];

const ERRORS: readonly Difference[] = [
  ...each(unseen, ['*.errors.InternalServerException', '*.errors.ServiceException'], 'a defect of Lull: `test/unit/api/microvm-operations.test.ts`'),
  ...each(unseen, ['SuspendMicrovm.errors.InternalServerException', 'ResumeMicrovm.errors.InternalServerException'], 'also where saving or restoring fails, or the `resume` hook: `test/unit/control/microvms-life.test.ts`'),
  ...each(unseen, ['*.errors.ThrottlingException', '*.errors.TooManyRequestsException'], "never: AWS's figure is not recorded"),
  ...each(
    unseen,
    ['RunMicrovm', 'ResumeMicrovm', 'SuspendMicrovm', 'TerminateMicrovm', 'GetMicrovm', 'CreateMicrovmAuthToken', 'CreateMicrovmShellAuthToken'].map((operation) => `${operation}.errors.ThrottlingException`),
    'calls per second are limited only where an operator says so (`--limits aws`, single ones by `--quota`): `test/unit/api/rate-limits.test.ts`',
  ),
  ...each(
    unseen,
    ['*.errors.AccessDeniedException'],
    "policies are not enforced: who has a key may do everything. Refused are a role that is not there, and the keys of a microVM's role (`test/unit/api/session-keys.test.ts`)",
  ),
  differs('CreateMicrovmImage.errors.AccessDeniedException', 'for a role that is not there; policies are not enforced'),
  ...each(
    differs,
    ['UpdateMicrovmImage', 'RunMicrovm', 'GetMicrovmImage', 'DeleteMicrovmImage', 'ListMicrovmImageVersions', 'GetMicrovmImageVersion', 'UpdateMicrovmImageVersion', 'DeleteMicrovmImageVersion', 'ListMicrovmImageBuilds', 'GetMicrovmImageBuild'].map(
      (operation) => `${operation}.errors.AccessDeniedException`,
    ),
    'for an ARN with a slash before the name, and for a role that is named and not there; policies are not enforced',
  ),
  ...['ListTags', 'TagResource', 'UntagResource'].flatMap((operation) =>
    ['ValidationException', 'InternalServerException', 'ThrottlingException'].map((error) => unseen(`${operation}.errors.${error}`, OLDER_NAME)),
  ),
  ...each(unseen, ['SuspendMicrovm.errors.ConflictException', 'ResumeMicrovm.errors.ConflictException'], 'a call waits for what is under way; where that broke off: `test/unit/control/microvms-life.test.ts`'),
  ...each(unseen, ['TerminateMicrovm', 'CreateMicrovmAuthToken', 'CreateMicrovmShellAuthToken'].map((operation) => `${operation}.errors.ConflictException`), 'no state of a microVM is in conflict with it'),
  unseen('DeleteMicrovmImage.errors.ConflictException', 'ValidationException, as AWS was recorded'),
  ...each(unseen, ['TagResource.errors.ResourceConflictException', 'UntagResource.errors.ResourceConflictException'], 'changes of tags wait for each other'),
  unseen('CreateMicrovmImage.errors.ResourceNotFoundException', 'a base image that is not there is a ValidationException, a role AccessDeniedException'),
  unseen('ListMicrovms.errors.ResourceNotFoundException', 'an image that is not there has no microVMs: the list is empty'),
  ...each(unseen, ['CreateMicrovmImage.errors.ServiceQuotaExceededException', 'UpdateMicrovmImage.errors.ServiceQuotaExceededException'], 'too many images or versions: `test/unit/control/images-change.test.ts`; too many builds: `test/unit/control/images-create.test.ts`'),
  unseen('RunMicrovm.errors.InsufficientCapacityException', 'where the host runs short of memory: `test/unit/control/microvms-run.test.ts`'),
  ...each(unseen, ['CreateNetworkConnector.errors.NetworkConnectorLimitExceededException', 'UpdateNetworkConnector.errors.NetworkConnectorLimitExceededException'], 'connectors are not limited in number'),
];

const VALUES: readonly Difference[] = [
  ...each(unseen, ['enum.Architecture.X86_64', 'enum.Chipset.INTEL', 'enum.ComputeResourceType.WebFunction'], NEWER_VALUE),
  ...each(unseen, ['enum.ManagedMicrovmImageVersionStatus.RECALLED', 'enum.ElasticIpType.*'], NEWER),
  unseen('enum.ManagedMicrovmImageVersionStatus.DEPRECATED', 'what set-up has made is AVAILABLE; nothing of before is kept'),
  ...each(unseen, ['enum.BuildState.PENDING', 'enum.MicrovmImageVersionState.PENDING'], 'until a build begins, which may be at once: `test/unit/control/images-create.test.ts`'),
  ...each(unseen, ['enum.MicrovmState.SUSPENDING', 'enum.MicrovmState.TERMINATING'], 'the call that asked for it answers afterwards: `test/unit/control/microvms-life.test.ts`'),
  ...each(unseen, ['enum.MicrovmImageState.DELETED', 'enum.MicrovmImageVersionState.DELETED'], 'what is deleted is not found any more'),
  unseen('enum.MicrovmImageState.DELETE_FAILED', 'where files cannot be removed: `test/unit/control/images-change.test.ts`'),
  unseen('enum.MicrovmImageVersionState.DELETE_FAILED', 'where the deletion cannot be committed: `test/unit/control/images-delete-version.test.ts`'),
  ...each(unseen, ['enum.NetworkConnectorState.PENDING', 'enum.NetworkConnectorState.INACTIVE', 'enum.NetworkConnectorState.FAILED', 'enum.NetworkConnectorState.DELETE_FAILED'], AT_ONCE),
  ...each(unseen, ['enum.NetworkConnectorLastUpdateStatus.Failed', 'enum.NetworkConnectorLastUpdateStatus.InProgress'], 'an update is done when it is answered'),
  ...each(unseen, ['enum.NetworkConnectorStateReasonCode.*', 'enum.NetworkConnectorLastUpdateStatusReasonCode.*'], NO_VPC),
];

const RECORDED: readonly Difference[] = [
  differs('recorded.slash ARN', "the words are Lull's: AWS's are IAM's, and misleading"),
  differs('recorded.image identifier is no ARN', 'for what has a colon; anything else is the bare name of an image'),
  differs('recorded.run without an ARN', 'for what has a colon; anything else is the bare name of an image'),
  unseen('recorded.too many builds', '`test/unit/control/images-create.test.ts`'),
  unseen('recorded.connector without token', 'the clients fill it in: `test/unit/api/network-connectors.test.ts`'),
  differs('recorded.role not assumable', 'for a role that is not there'),
];

export const DIFFERENCES: readonly Difference[] = [...OPERATIONS, ...MEMBERS, ...ERRORS, ...VALUES, ...RECORDED];
