/** The table of AWS's operations: contract reference, section 1.2. The only place that knows methods, paths and statuses. */
import type { z } from 'zod';
import type { ErrorFamily } from './exceptions.ts';
import * as connectors from './connectors.ts';
import * as images from './images.ts';
import * as microvms from './microvms.ts';
import * as tags from './tags.ts';

/** The API version, which is the prefix of every path (section 1.1). */
const P = '/2025-09-09';
const IMAGE = `${P}/microvm-images/{imageIdentifier}` as const;
const VERSION = `${IMAGE}/versions/{imageVersion}` as const;
const MICROVM = `${P}/microvms/{microvmIdentifier}` as const;
/** Sections 1.1 and 1.12: the two older families of paths. */
const TAGS = '/2017-03-31/tags/{Resource}';
const CONNECTORS = '/2026-04-04/network-connectors';
const CONNECTOR = `${CONNECTORS}/{Identifier}` as const;

/** One operation on the wire. Members of `input` come from path labels (`{…}`), from the query, and, with `hasBody`, from a JSON body. */
export interface OperationContract {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly status: number;
  readonly query: readonly string[];
  /** Parameters of the query that may be repeated; each is a list. */
  readonly queryLists: readonly string[];
  readonly hasBody: boolean;
  readonly input: z.ZodType;
  readonly answer: z.ZodType;
}

const PAGE = ['maxResults', 'nextToken'] as const;

const GET = { method: 'GET', status: 200, query: [], queryLists: [], hasBody: false } as const;
const LIST = { ...GET, query: PAGE } as const;
const POST = { ...GET, method: 'POST' } as const;
const DELETE = { ...GET, method: 'DELETE' } as const;
const WITH_BODY = { status: 200, query: [], queryLists: [], hasBody: true } as const;

export const OPERATIONS = {
  RunMicrovm: { ...POST, path: `${P}/microvms`, hasBody: true, input: microvms.runMicrovmInput, answer: microvms.microvmAnswer },
  GetMicrovm: { ...GET, path: MICROVM, input: microvms.microvmLabel, answer: microvms.microvmAnswer },
  ListMicrovms: {
    ...GET,
    path: `${P}/microvms`,
    query: [...PAGE, 'imageIdentifier', 'imageVersion'],
    input: microvms.listMicrovmsInput,
    answer: microvms.listMicrovmsAnswer,
  },
  SuspendMicrovm: { ...POST, path: `${MICROVM}/suspend`, input: microvms.microvmLabel, answer: microvms.emptyAnswer },
  ResumeMicrovm: { ...POST, path: `${MICROVM}/resume`, input: microvms.microvmLabel, answer: microvms.emptyAnswer },
  TerminateMicrovm: { ...DELETE, path: MICROVM, input: microvms.microvmLabel, answer: microvms.emptyAnswer },
  CreateMicrovmAuthToken: {
    ...POST,
    path: `${MICROVM}/auth-token`,
    hasBody: true,
    input: microvms.createAuthTokenInput,
    answer: microvms.createAuthTokenAnswer,
  },
  CreateMicrovmShellAuthToken: {
    ...POST,
    path: `${MICROVM}/shell-auth-token`,
    hasBody: true,
    input: microvms.createShellAuthTokenInput,
    answer: microvms.createAuthTokenAnswer,
  },
  CreateMicrovmImage: {
    ...POST,
    path: `${P}/microvm-images`,
    status: 201,
    hasBody: true,
    input: images.createImageInput,
    answer: images.createImageAnswer,
  },
  GetMicrovmImage: { ...GET, path: IMAGE, input: images.imageLabel, answer: images.getImageAnswer },
  ListMicrovmImages: {
    ...GET,
    path: `${P}/microvm-images`,
    query: [...PAGE, 'nameFilter'],
    input: images.listImagesInput,
    answer: images.listImagesAnswer,
  },
  UpdateMicrovmImage: { ...WITH_BODY, method: 'PUT', path: IMAGE, input: images.updateImageInput, answer: images.updateImageAnswer },
  DeleteMicrovmImage: { ...DELETE, path: IMAGE, input: images.imageLabel, answer: images.deleteImageAnswer },
  ListMicrovmImageVersions: { ...LIST, path: `${IMAGE}/versions`, input: images.listVersionsInput, answer: images.listVersionsAnswer },
  GetMicrovmImageVersion: { ...GET, path: VERSION, input: images.versionLabels, answer: images.versionAnswer },
  UpdateMicrovmImageVersion: { ...WITH_BODY, method: 'PATCH', path: VERSION, input: images.updateVersionInput, answer: images.versionAnswer },
  DeleteMicrovmImageVersion: { ...DELETE, path: VERSION, input: images.versionLabels, answer: images.deleteVersionAnswer },
  ListMicrovmImageBuilds: {
    ...GET,
    path: `${VERSION}/builds`,
    query: [...PAGE, 'architecture', 'chipset', 'chipsetGeneration'],
    input: images.listBuildsInput,
    answer: images.listBuildsAnswer,
  },
  GetMicrovmImageBuild: { ...GET, path: `${VERSION}/builds/{buildId}`, input: images.buildLabels, answer: images.getBuildAnswer },
  ListManagedMicrovmImages: {
    ...LIST,
    path: `${P}/managed-microvm-images`,
    input: images.listManagedInput,
    answer: images.listManagedImagesAnswer,
  },
  ListManagedMicrovmImageVersions: {
    ...LIST,
    path: `${P}/managed-microvm-images/{imageIdentifier}/versions`,
    input: images.listVersionsInput,
    answer: images.listManagedVersionsAnswer,
  },
  ListTags: { ...GET, path: TAGS, input: tags.resourceLabel, answer: tags.listTagsAnswer },
  TagResource: { ...POST, path: TAGS, status: 204, hasBody: true, input: tags.tagResourceInput, answer: microvms.emptyAnswer },
  UntagResource: { ...DELETE, path: TAGS, status: 204, queryLists: ['tagKeys'], input: tags.untagResourceInput, answer: microvms.emptyAnswer },
  CreateNetworkConnector: {
    ...WITH_BODY,
    method: 'POST',
    path: CONNECTORS,
    status: 202,
    input: connectors.createConnectorInput,
    answer: connectors.connectorAnswer,
  },
  GetNetworkConnector: { ...GET, path: CONNECTOR, input: connectors.connectorLabel, answer: connectors.getConnectorAnswer },
  ListNetworkConnectors: {
    ...GET,
    path: CONNECTORS,
    query: ['State', 'Marker', 'MaxItems'],
    input: connectors.listConnectorsInput,
    answer: connectors.listConnectorsAnswer,
  },
  UpdateNetworkConnector: {
    ...WITH_BODY,
    method: 'PUT',
    path: CONNECTOR,
    status: 202,
    input: connectors.updateConnectorInput,
    answer: connectors.updateConnectorAnswer,
  },
  DeleteNetworkConnector: { ...DELETE, path: CONNECTOR, status: 202, input: connectors.connectorLabel, answer: connectors.connectorAnswer },
} as const satisfies Record<string, OperationContract>;

export type Operations = typeof OPERATIONS;
export type OperationName = keyof Operations;
/** What a caller may send (before defaults). */
export type OperationRequest<O extends OperationName> = z.input<Operations[O]['input']>;
/** What a handler receives: parsed, with defaults. */
export type OperationInput<O extends OperationName> = z.output<Operations[O]['input']>;
/** The input schema of each operation, typed so that a generic caller gets that operation's input. */
export const INPUT_OF: { readonly [O in OperationName]: { readonly input: z.ZodType<OperationInput<O>> } } = OPERATIONS;
/** What goes over the wire as the answer. */
export type OperationAnswer<O extends OperationName> = z.output<Operations[O]['answer']>;

export const OPERATION_NAMES = Object.keys(OPERATIONS) as readonly OperationName[];

/** Path prefixes of the Lambda surface: sections 1.1 and 1.12, and Lull's own. */
export const LAMBDA_PREFIXES = ['/2025-09-09/', '/2026-04-04/', '/2017-03-31/', '/lull/v1/'] as const;
/** How errors are told under a path (sections 1.2, 1.10 and 1.12). */
export function errorFamily(path: string): ErrorFamily {
  if (path.startsWith('/2026-04-04/')) return 'connectors';
  return path.startsWith('/2017-03-31/') ? 'tags' : 'microvms';
}

/** The signing name of all of them (section 1.1). */
export const LAMBDA_SERVICE = 'lambda';
export const S3_SERVICE = 's3';
