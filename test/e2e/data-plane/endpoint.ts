/** The endpoints that the clients of the data plane ask: two microVMs of test/fixtures/protocol-app on a real server. */
import { cp, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { caFiles } from '../../../src/client/data-folder.ts';
import { LullServer } from '../lull-server.ts';
import { WAKES_BY_TRAFFIC, type TestMicrovm } from '../test-microvm.ts';

const ROOT = join(import.meta.dirname, '../../..');
const APPLICATION = join(ROOT, 'test/fixtures/protocol-app');

/** Ports of the application: see its sources. */
export const PORTS = { http: 8080, otherHttp: 9001, h2c: 8081, grpc: 50_051, tls: 8443, first: 1, last: 65_535, nobody: 7001 } as const;

/** What a client needs to know. */
export interface Endpoint {
  readonly microvm: TestMicrovm;
  /** Name and port, as RunMicrovm tells it. */
  readonly host: string;
  /** For every port. */
  readonly token: string;
}

/** What the application tells of a request at `/seen`, and of a WebSocket in its first message. */
export interface SeenRequest {
  readonly method: string;
  readonly url: string;
  readonly httpVersion: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly rawHeaders: readonly string[];
  readonly peer: string;
  readonly port: number;
  readonly isEncrypted: boolean;
}

/** See the file's head. */
export class DataPlane implements AsyncDisposable {
  readonly server: LullServer;
  readonly imageArn: string;
  readonly one: Endpoint;
  readonly other: Endpoint;

  private constructor(facts: { server: LullServer; imageArn: string; one: Endpoint; other: Endpoint }) {
    this.server = facts.server;
    this.imageArn = facts.imageArn;
    this.one = facts.one;
    this.other = facts.other;
  }

  static async start(): Promise<DataPlane> {
    const server = await LullServer.start();
    try {
      const imageArn = await buildImage(server);
      const launch = async () => endpointOf(await server.run(imageArn, { idlePolicy: WAKES_BY_TRAFFIC }));
      const [one, other] = await Promise.all([launch(), launch()]);
      return new DataPlane({ server, imageArn, one, other });
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** PEM of the local authority. */
  get caPath(): string {
    return caFiles(this.server.data).ca;
  }

  /** A token of the first microVM's for this port alone. */
  async tokenFor(port: number): Promise<string> {
    const input = { microvmIdentifier: this.one.microvm.id, expirationInMinutes: 1, allowedPorts: [{ port }] };
    return (await this.server.lambda.createMicrovmAuthToken(input)).authToken!['X-aws-proxy-auth']!;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.server[Symbol.asyncDispose]();
  }
}

export async function endpointOf(microvm: TestMicrovm): Promise<Endpoint> {
  return { microvm, host: microvm.endpoint, token: await microvm.token() };
}

/** The application has the checkout's `ws` beside it: a build then needs no network. */
async function buildImage(server: LullServer): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'lull-protocols-'));
  try {
    await cp(APPLICATION, folder, { recursive: true });
    await cp(join(ROOT, 'node_modules/ws'), join(folder, 'node_modules/ws'), { recursive: true });
    return await server.image('protocols', folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The environment of a client: without proxies, which no test's traffic may take. */
export function clientEnvironment(more: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
  return { ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !/_proxy$/i.test(name))), ...more };
}
