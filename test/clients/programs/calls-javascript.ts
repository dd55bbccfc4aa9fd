/**
 * AWS's JavaScript clients as a program: a line of JSON in is a call, a line out its outcome (`../client.ts`). Nothing is
 * set but what the environment sets. `wire` is the body as it was received: the clients drop its nulls.
 */
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import * as logs from '@aws-sdk/client-cloudwatch-logs';
import * as iam from '@aws-sdk/client-iam';
import * as microvms from '@aws-sdk/client-lambda-microvms';
import * as s3 from '@aws-sdk/client-s3';
import * as quotas from '@aws-sdk/client-service-quotas';
import * as sts from '@aws-sdk/client-sts';
import { isFile, type Call, type Outcome } from '../client.ts';

/** What all clients of the SDK have, whatever their service. */
interface AnyClient {
  send(command: object): Promise<object>;
  readonly config: { readonly requestHandler: { handle(request: never, options: never): Promise<{ response: { body?: unknown } }> } };
}

const SERVICES: Readonly<Record<string, { client: AnyClient; commands: object }>> = {
  'lambda-microvms': { client: new microvms.LambdaMicrovmsClient({}), commands: microvms },
  s3: { client: new s3.S3Client({}), commands: s3 },
  sts: { client: new sts.STSClient({}), commands: sts },
  iam: { client: new iam.IAMClient({}), commands: iam },
  logs: { client: new logs.CloudWatchLogsClient({}), commands: logs },
  'service-quotas': { client: new quotas.ServiceQuotasClient({}), commands: quotas },
};

let wire: unknown;

/** Keeps the last body that this client received. */
function keepWire({ config: { requestHandler } }: AnyClient): void {
  const handle = requestHandler.handle.bind(requestHandler);
  requestHandler.handle = async (request, options) => {
    const answer = await handle(request, options);
    const bytes = await buffer(answer.response.body as Readable);
    wire = bytes.length === 0 ? {} : JSON.parse(bytes.toString());
    answer.response.body = Readable.from([bytes]);
    return answer;
  };
}

async function answer({ service, operation, input }: Call): Promise<Outcome> {
  const { client, commands } = SERVICES[service]!;
  const Command = Reflect.get(commands, `${operation}Command`) as new (input: object) => object;
  wire = undefined;
  try {
    const { $metadata: _, ...output } = (await client.send(new Command(await withFiles(input)))) as Record<string, unknown>;
    if (operation === 'GetObject') output['Body'] = await (output['Body'] as { transformToString(): Promise<string> }).transformToString();
    return { output, ...(wire === undefined ? {} : { wire }) };
  } catch (error) {
    // Services that answer in XML have a code, of which the client makes a name of its own.
    const { name, Code: type = name, message, $metadata } = error as Error & { Code?: string; $metadata?: { httpStatusCode?: number } };
    return { error: { type, status: $metadata?.httpStatusCode ?? null, message } };
  }
}

/** Members that stand for a file become its bytes. */
async function withFiles(input: Call['input']): Promise<object> {
  const entries = Object.entries(input).map(async ([name, value]) => [name, isFile(value) ? await readFile(value.$file) : value] as const);
  return Object.fromEntries(await Promise.all(entries));
}

keepWire(SERVICES['lambda-microvms']!.client);
for await (const line of createInterface({ input: process.stdin })) {
  process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line) as Call))}\n`);
}
