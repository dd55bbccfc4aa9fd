/** What AWS was recorded to answer (contract reference, sections 1.5 and 1.6): each is provoked by a step of the scenario, or `differences.ts` says why not. */

export interface RecordedError {
  readonly situation: string;
  readonly status: number;
  readonly type: string;
  /** `<name>` stands for what differs from call to call. */
  readonly text: string;
}

const NOT_FOUND = { status: 404, type: 'ResourceNotFoundException' } as const;
const INVALID = { status: 400, type: 'ValidationException' } as const;
const CONFLICT = { status: 409, type: 'ConflictException' } as const;
const QUOTA = { status: 402, type: 'ServiceQuotaExceededException' } as const;
const CORE_INVALID = { status: 400, type: 'InvalidParameterValueException' } as const;

export const RECORDED_ERRORS = {
  // Section 1.6.
  'image not found': { ...NOT_FOUND, situation: 'image not found', text: 'MicroVMImage not found for MicroVMImageID: <arn>' },
  'version not found': { ...NOT_FOUND, situation: 'version not found', text: 'MicroVMImage not found for MicroVMImage: <arn>, Version: <version>' },
  'microVM not found': { ...NOT_FOUND, situation: 'microVM not found', text: 'MicroVM not found: <id>' },
  'no active version': { ...NOT_FOUND, situation: 'run: no image, or no ACTIVE version', text: 'No active version found for MicroVM image <arn>' },
  'pinned version not active': { ...NOT_FOUND, situation: 'run: the pinned version is not ACTIVE', text: 'No active version found for MicroVM image <arn> and version <version>' },
  'image identifier is no ARN': { ...INVALID, situation: 'image operation: no ARN', text: 'Invalid ARN format: <identifier>' },
  'run without an ARN': { ...INVALID, situation: 'run: no ARN', text: "Malformed ARN - doesn't start with 'arn:'" },
  'slash ARN': { status: 403, type: 'AccessDeniedException', situation: 'ARN in the form `microvm-image/name`', text: '<text of IAM>' },
  'image name taken': { ...INVALID, situation: 'second image of a name', text: "A MicroVM image with the name '<name>' already exists in this account" },
  'image being built': { ...INVALID, situation: 'delete during the first build', text: 'Cannot delete MicroVM image in its current state<…>' },
  'image in use': { ...INVALID, situation: 'delete with live microVMs', text: 'Cannot delete microvm image with running microvms.' },
  'image is UPDATING': { ...CONFLICT, situation: 'change of a version while UPDATING', text: 'MicroVM Image is already in state: UPDATING' },
  'microVM has ended': { ...INVALID, situation: 'change of a TERMINATED microVM', text: 'The MicroVM <id> has been terminated and its state cannot be changed.' },
  'token too long': { ...INVALID, situation: 'token for more than 60 minutes', text: 'ExpirationMinutes <minutes> exceeded max allowed of 60.' },
  'shell without connector': { ...INVALID, situation: 'shell token without connector', text: 'Shell access requires SHELL_INGRESS network connector to be configured on the MicroVM.' },
  'shell beside ALL_INGRESS': {
    ...INVALID,
    situation: 'shell token with ALL_INGRESS and SHELL_INGRESS',
    text: 'ALL_INGRESS cannot be combined with other ingress network connectors; use HTTP_INGRESS and/or SHELL_INGRESS instead',
  },
  'memory quota': { ...QUOTA, situation: 'memory quota', text: 'The base maximum allocated memory limit has been reached for this account.' },
  'too many builds': { ...QUOTA, situation: 'too many builds at once', text: '<names the maximum number of concurrent builds>' },
  'memory size': {
    ...INVALID,
    situation: 'memory size not supported',
    text: 'The requested memory size of <n> MiB is not supported by base MicroVM image <arn>. Supported memory sizes in MiB are: [<sizes>].',
  },
  'base version unknown': { ...INVALID, situation: 'base version unknown', text: 'No managed MicroVM Image with arn <arn> and version <version> is available' },
  'hook without ready': {
    ...INVALID,
    situation: 'runtime hook without ready',
    text: 'The ready (/ready) MicroVM image hook must be enabled when any MicroVM lifecycle hook (run, resume, suspend, or terminate) is enabled.',
  },
  'payload without run hook': { ...INVALID, situation: 'payload without run hook', text: 'The run hook must be enabled in the MicroVM image to pass the run hook payload.' },
  'connector unknown': { ...INVALID, situation: 'unknown managed connector', text: 'Unrecognized managed network connector ARN: <arn>' },
  'connector malformed': { ...INVALID, situation: 'bare connector name', text: 'Malformed network connector ARN' },
  'artifact not in S3': { ...INVALID, situation: 'codeArtifact not S3', text: 'CodeArtifact URI must be a valid S3 URI in the format: s3://<bucket>/<key>' },
  'role not assumable': { status: 403, type: 'AccessDeniedException', situation: 'execution role not assumable', text: '<text of iam:PassRole>' },
  'constraint: not null': { ...INVALID, situation: 'required member missing', text: "1 validation error detected: Value null at '<path>' failed to satisfy constraint: Member must not be null" },
  'constraint: length': {
    ...INVALID,
    situation: 'text too long',
    text: "1 validation error detected: Value<…> at '<path>' failed to satisfy constraint: Member must have length less than or equal to <n>",
  },
  'constraint: pattern': {
    ...INVALID,
    situation: 'pattern broken',
    text: "1 validation error detected: Value '<value>' at '<path>' failed to satisfy constraint: Member must satisfy regular expression pattern: <pattern>",
  },
  'constraint: several': { ...INVALID, situation: 'several at once', text: '<N> validation errors detected: <first>; <second>' },
  // Section 1.3.
  'allPorts: true': { status: 400, type: 'SerializationException', situation: '`allPorts: true`', text: 'Expected null' },
  // Section 1.12.
  'connector not found': { ...NOT_FOUND, situation: 'network connector not found', text: 'Network connector not found for: <arn>' },
  'connector without token': { ...CORE_INVALID, situation: 'network connector without ClientToken', text: 'ClientToken is a required field' },
} as const satisfies Readonly<Record<string, RecordedError>>;

/** The text with its `<…>` filled in; what is not given stays open to any text. */
export function textOf(text: string, values: Readonly<Record<string, string>>): string | { readonly $matches: string } {
  const pieces = text.split(/(<[^>]+>)/);
  const isOpen = (piece: string) => /^<[^>]+>$/.test(piece) && !(piece.slice(1, -1) in values) && piece !== '<bucket>' && piece !== '<key>';
  const filledIn = (piece: string) => values[piece.slice(1, -1)] ?? piece;
  if (!pieces.some(isOpen)) return pieces.map(filledIn).join('');
  // A variable of the scenario stays one: its value is filled in later, and has no character of a pattern but dots and dashes.
  const literal = (piece: string) => filledIn(piece).split(/(\$\{\w+\})/).map((part) => (part.startsWith('${') ? part : RegExp.escape(part))).join('');
  return { $matches: `^${pieces.map((piece) => (isOpen(piece) ? '.*' : literal(piece))).join('')}$` };
}
