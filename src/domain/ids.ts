/** Identifiers and ARNs: contract reference, section 2.1. */
import { invalidArn, slashedArn } from './refusals.ts';

/** The one account of an installation and the region tools are told (`lull env`). */
export interface Realm {
  readonly region: string;
  readonly account: string;
}

/** `us-east-1`, because tools check the region against AWS's list. */
export const DEFAULT_REALM: Realm = { region: 'us-east-1', account: '000000000000' };

const IMAGE_ARN = /^arn:aws[a-z-]*:lambda:([a-z0-9-]+):([0-9]{12}|aws):microvm-image:([a-zA-Z0-9-_]{1,64})$/;

/** The ARN of a customer's image. */
export const imageArn = (realm: Realm, name: string) =>
  `arn:aws:lambda:${realm.region}:${realm.account}:microvm-image:${name}`;

/** The ARN of an image that Lull itself provides. */
export const managedImageArn = (realm: Realm, name: string) => `arn:aws:lambda:${realm.region}:aws:microvm-image:${name}`;

/** The parts of an image ARN. */
export interface ImageArnParts {
  readonly region: string;
  readonly account: string;
  readonly name: string;
}

/** Takes an image ARN apart; undefined where it is not one. */
export function parseImageArn(arn: string): ImageArnParts | undefined {
  const match = IMAGE_ARN.exec(arn);
  return match === null ? undefined : { region: match[1]!, account: match[2]!, name: match[3]! };
}

/**
 * The image name that an identifier stands for: a full ARN, or (a harmless superset of AWS, section 13) the bare name.
 * @throws LullError validation `Invalid ARN format: …`; access-denied for the form `microvm-image/name`
 */
export function imageNameOf(identifier: string): string {
  const parts = parseImageArn(identifier);
  if (parts !== undefined) return parts.name;
  if (isImageName(identifier)) return identifier;
  throw SLASHED_ARN.test(identifier) ? slashedArn(identifier) : invalidArn(identifier);
}

/** Section 1.3, CreateMicrovmImage. */
export const isImageName = (text: string) => /^[a-zA-Z0-9-_]{1,64}$/.test(text);

const SLASHED_ARN = /^arn:aws[a-z-]*:lambda:[a-z0-9-]+:(?:[0-9]{12}|aws):microvm-image\/./;

/** How a session of a role is named as a caller (IAM User Guide, "IAM identifiers"); a role's path is not part of it. */
export function assumedRoleArn({ roleArn, sessionName }: { readonly roleArn: string; readonly sessionName: string }): string {
  const [, partition, , , account] = roleArn.split(':');
  return `arn:${partition}:sts::${account}:assumed-role/${roleArn.slice(roleArn.lastIndexOf('/') + 1)}/${sessionName}`;
}

/** A microVM's id from a fresh uuid. */
export const microvmId = (uuid: string) => `microvm-${uuid}`;

/** Versions count up by one major number per update: `1.0`, `2.0`, … */
export const nextImageVersion = (versions: number) => `${versions + 1}.0`;

/** The ARN of one of AWS's managed network connectors. */
export const managedConnectorArn = (realm: Realm, name: ManagedConnector) =>
  `arn:aws:lambda:${realm.region}:aws:network-connector:aws-network-connector:${name}`;

/** Section 5.7. */
export const MANAGED_CONNECTORS = ['HTTP_INGRESS', 'ALL_INGRESS', 'SHELL_INGRESS', 'NO_INGRESS', 'INTERNET_EGRESS'] as const;
export type ManagedConnector = (typeof MANAGED_CONNECTORS)[number];

/** The managed connector that an ARN names; undefined where it names none of them. */
export function managedConnectorOf(arn: string): ManagedConnector | undefined {
  const name = /^arn:aws[a-z-]*:lambda:[a-z0-9-]+:aws:network-connector:aws-network-connector:([A-Z_]+)$/.exec(arn)?.[1];
  return MANAGED_CONNECTORS.find((connector) => connector === name);
}

/** The role that an ARN names, in whichever account; undefined where it is not a role's. */
export function parseRoleArn(arn: string): { readonly account: string; readonly path: string; readonly name: string } | undefined {
  const match = /^arn:aws[a-z-]*:iam::([0-9]{12}):role(\/(?:[!-.0-~]+\/)*)([\w+=,.@-]{1,64})$/.exec(arn);
  return match === null ? undefined : { account: match[1]!, path: match[2]!, name: match[3]! };
}

/** The ARN of a role; `path` begins and ends with a slash. */
export const roleArn = ({ account }: Pick<Realm, 'account'>, path: string, name: string) => `arn:aws:iam::${account}:role${path}${name}`;

/** Whom the installation's own keys speak for: the account itself. */
export const accountArn = ({ account }: Pick<Realm, 'account'>) => `arn:aws:iam::${account}:root`;
