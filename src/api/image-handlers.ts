/** Handlers of the image operations: contract reference, section 1.3. */
import type { ImageConfigWireInput } from '../contract/images.ts';
import type { OperationName } from '../contract/operations.ts';
import type { ControlPlane, ImageConfigInput, ImageWithVersion, ManagedImage } from '../control/control-plane.ts';
import { LullError } from '../domain/errors.ts';
import { imageNameOf, managedImageArn } from '../domain/ids.ts';
import type { Realm } from '../domain/ids.ts';
import { imageNotFound } from '../domain/refusals.ts';
import type { HandlersOf } from './handlers.ts';
import { nextToken, pageOf, pageRequest } from './page-token.ts';
import {
  renderBuild,
  renderBuildItem,
  renderCreatedImage,
  renderImage,
  renderImageSummary,
  renderUpdatedImage,
  renderVersion,
} from './render-image.ts';
import type { BuildItem } from './render-image.ts';
import { epochSeconds } from './render-microvm.ts';

type ImageOperation = Extract<OperationName, `${string}Image${string}`>;

const configOf = (input: Omit<ImageConfigWireInput, 'imageIdentifier'>): ImageConfigInput => ({
  baseImageArn: input.baseImageArn,
  baseImageVersion: input.baseImageVersion,
  buildRoleArn: input.buildRoleArn,
  codeArtifactUri: input.codeArtifact.uri,
  description: input.description,
  logging: input.logging,
  egressConnectors: input.egressNetworkConnectors?.length === 0 ? null : input.egressNetworkConnectors,
  cpuArchitectures: input.cpuConfigurations?.map((cpu) => cpu.architecture) ?? null,
  minimumMemoryMib: input.resources?.[0]?.minimumMemoryInMiB ?? null,
  additionalOsCapabilities: input.additionalOsCapabilities,
  hooks: input.hooks,
  environmentVariables: input.environmentVariables,
});

/** Filters of ListMicrovmImageBuilds; one left out lets everything through. */
const buildMatches = (build: BuildItem, filter: { [F in 'architecture' | 'chipset' | 'chipsetGeneration']: string | undefined }) =>
  (['architecture', 'chipset', 'chipsetGeneration'] as const).every((name) => filter[name] === undefined || filter[name] === build[name]);

function managedImage(control: ControlPlane, identifier: string, realm: Realm): ManagedImage {
  const arn = managedImageArn(realm, imageNameOf(identifier));
  const found = control.images.managed().find((image) => image.imageArn === arn);
  if (found === undefined) throw imageNotFound(identifier);
  return found;
}

function assertBuild({ version }: ImageWithVersion, buildId: string): void {
  if (version.build.buildId === buildId) return;
  throw new LullError('not-found', `Build not found: ${buildId}`);
}

export const imageHandlers: HandlersOf<ImageOperation> = {
  async CreateMicrovmImage(input, { control }) {
    const { name, tags, clientToken } = input;
    return renderCreatedImage(await control.images.create({ name, config: configOf(input), tags: tags ?? {}, clientToken }));
  },

  async UpdateMicrovmImage(input, { control }) {
    const { imageIdentifier, clientToken } = input;
    return renderUpdatedImage(await control.images.update({ imageIdentifier, config: configOf(input), clientToken }));
  },

  async GetMicrovmImage({ imageIdentifier }, { control }) {
    return renderImage(await control.images.get(imageIdentifier));
  },

  async ListMicrovmImages(input, { control }) {
    const page = await control.images.list({ nameFilter: input.nameFilter }, pageRequest('ListMicrovmImages', input));
    return { items: page.items.map(renderImageSummary), nextToken: nextToken('ListMicrovmImages', page.next) };
  },

  async DeleteMicrovmImage({ imageIdentifier }, { control }) {
    const image = await control.images.delete(imageIdentifier);
    return { imageIdentifier: image.imageArn, state: image.state };
  },

  async ListMicrovmImageVersions(input, { control }) {
    const listing = 'ListMicrovmImageVersions';
    const page = await control.images.versions(input.imageIdentifier, pageRequest(listing, input));
    const items = page.items.map((version) => renderVersion(page.image.imageArn, version));
    return { items, nextToken: nextToken(listing, page.next) };
  },

  async GetMicrovmImageVersion({ imageIdentifier, imageVersion }, { control }) {
    const { image, version } = await control.images.version(imageIdentifier, imageVersion);
    return renderVersion(image.imageArn, version);
  },

  async UpdateMicrovmImageVersion({ imageIdentifier, imageVersion, status }, { control }) {
    const { image, version } = await control.images.setVersionStatus(imageIdentifier, imageVersion, status);
    return renderVersion(image.imageArn, version);
  },

  async DeleteMicrovmImageVersion({ imageIdentifier, imageVersion }, { control }) {
    const { image, version } = await control.images.deleteVersion(imageIdentifier, imageVersion);
    return { imageIdentifier: image.imageArn, imageVersion: version.version, state: version.state };
  },

  async ListMicrovmImageBuilds(input, { control }) {
    const listing = 'ListMicrovmImageBuilds';
    const requested = pageRequest(listing, input);
    const found = await control.images.version(input.imageIdentifier, input.imageVersion);
    const page = pageOf([renderBuildItem(found)].filter((build) => buildMatches(build, input)), requested);
    return { items: [...page.items], nextToken: nextToken(listing, page.next) };
  },

  async GetMicrovmImageBuild({ imageIdentifier, imageVersion, buildId }, { control }) {
    const found = await control.images.version(imageIdentifier, imageVersion);
    assertBuild(found, buildId);
    return renderBuild(found);
  },

  async ListManagedMicrovmImages(input, { control }) {
    const listing = 'ListManagedMicrovmImages';
    const page = pageOf(control.images.managed(), pageRequest(listing, input));
    const items = page.items.map(({ imageArn, createdAtMs, versions }) => ({
      imageArn,
      createdAt: epochSeconds(createdAtMs),
      updatedAt: epochSeconds(Math.max(createdAtMs, ...versions.map((version) => version.createdAtMs))),
    }));
    return { items, nextToken: nextToken(listing, page.next) };
  },

  async ListManagedMicrovmImageVersions(input, { control, realm }) {
    const listing = 'ListManagedMicrovmImageVersions';
    const image = managedImage(control, input.imageIdentifier, realm);
    const page = pageOf(image.versions, pageRequest(listing, input));
    const items = page.items.map(({ version, createdAtMs, status }) => ({
      imageArn: image.imageArn,
      imageVersion: version,
      createdAt: epochSeconds(createdAtMs),
      status,
      updatedAt: null,
    }));
    return { items, nextToken: nextToken(listing, page.next) };
  },
};
