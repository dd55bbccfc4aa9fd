import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import {
  CloudWatchLogsClient,
  CreateLogGroupCommand,
  DeleteLogGroupCommand,
  DeleteRetentionPolicyCommand,
  DescribeLogGroupsCommand,
  DescribeLogStreamsCommand,
  FilterLogEventsCommand,
  GetLogEventsCommand,
  PutRetentionPolicyCommand,
  paginateDescribeLogStreams,
  paginateFilterLogEvents,
} from '@aws-sdk/client-cloudwatch-logs';
import type { FilterLogEventsCommandInput, GetLogEventsCommandInput } from '@aws-sdk/client-cloudwatch-logs';
import { LogRetention } from '../../../src/control/logs/log-retention.ts';
import type { LoggingConfig } from '../../../src/domain/image.ts';
import { createBuildLogs } from '../../../src/image/build-log.ts';
import { SILENT } from '../../../src/lib/log.ts';
import { insertLaunchable, microvmRecord, versionRecord } from '../../fakes/records.ts';
import { SteeredClock } from '../../fakes/steered-clock.ts';
import { CREDENTIALS, startApi } from './bed.ts';
import type { ApiBed } from './bed.ts';

const GROUP = '/aws/lambda-microvms/app';
const T0 = Date.UTC(2026, 10, 27, 12);
const DAY_MS = 24 * 3_600_000;

describe('CloudWatch Logs', () => {
  let bed: ApiBed;
  beforeEach(async () => {
    bed = await startApi();
    bed.logTime.nowMs = T0;
    await insertLaunchable(bed.store, 'app', { snapshotId: 'first', createdAtMs: T0 });
  });
  afterEach(() => bed[Symbol.asyncDispose]());

  const launch = async (name: string, logging: LoggingConfig | null = null) => {
    const record = microvmRecord(name, { state: 'RUNNING', snapshotId: 'first', logging, startedAtMs: bed.logTime.nowMs });
    await bed.store.microvms.insert(record);
    return record.microvmId;
  };
  const print = (microvmId: string, text: string, atMs = bed.logTime.nowMs) => {
    bed.logTime.nowMs = atMs;
    return bed.applicationLogs.hold(microvmId).append(Buffer.from(text));
  };
  const streamName = (microvmId: string) => `2026/11/27[1.0]${microvmId}`;
  const read = (microvmId: string, more: Partial<GetLogEventsCommandInput> = {}) =>
    bed.logs.send(new GetLogEventsCommand({ logGroupName: GROUP, logStreamName: streamName(microvmId), ...more }));
  const filter = (more: Partial<FilterLogEventsCommandInput> = {}) => bed.logs.send(new FilterLogEventsCommand({ logGroupName: GROUP, ...more }));
  const messages = ({ events = [] }: { events?: { message?: string | undefined }[] | undefined }) => events.map(({ message }) => message);

  test('output is found under the names of section 8.4, each line with its time', async () => {
    const id = await launch('one');
    await print(id, 'hello\nwor', T0 + 1000);
    await print(id, 'ld\n\n  {"level":"info"}\r\n', T0 + 2000);
    await print(id, 'not yet a line', T0 + 3000);
    const { logGroups } = await bed.logs.send(new DescribeLogGroupsCommand({}));
    assert.deepEqual(logGroups?.map(({ logGroupName, arn, logGroupArn }) => [logGroupName, arn, logGroupArn]), [
      [GROUP, `arn:aws:logs:us-east-1:000000000000:log-group:${GROUP}:*`, `arn:aws:logs:us-east-1:000000000000:log-group:${GROUP}`],
    ]);
    const { logStreams } = await bed.logs.send(new DescribeLogStreamsCommand({ logGroupName: GROUP, logStreamNamePrefix: streamName(id) }));
    assert.deepEqual(logStreams, [
      {
        logStreamName: streamName(id),
        arn: `arn:aws:logs:us-east-1:000000000000:log-group:${GROUP}:log-stream:${streamName(id)}`,
        creationTime: T0,
        firstEventTimestamp: T0 + 1000,
        lastEventTimestamp: T0 + 3000,
        lastIngestionTime: T0 + 3000,
        storedBytes: 47,
      },
    ]);
    const { events } = await read(id);
    const at = (timestamp: number, message: string) => ({ timestamp, message, ingestionTime: timestamp });
    assert.deepEqual(events, [at(T0 + 1000, 'hello'), at(T0 + 1000, 'world'), at(T0 + 2000, '  {"level":"info"}\r')]);
    await bed.store.microvms.apply(id, 'terminate');
    await bed.store.microvms.apply(id, 'terminated');
    assert.deepEqual(messages(await read(id)).at(-1), 'not yet a line');
    const whole = await Array.fromAsync(bed.applicationLogs.hold(id).read({ follow: false, signal: AbortSignal.timeout(5000) }));
    assert.equal(Buffer.concat(whole).toString(), 'hello\nworld\n\n  {"level":"info"}\r\nnot yet a line', 'lull logs gives every byte');
  });

  test('a group and a stream of one’s own; a name that is taken gets the microVM’s id; none where logging is off', async () => {
    const place = { cloudWatch: { logGroup: 'mine', logStream: 'shared' } };
    const [one, two] = [await launch('one', place), await launch('two', place)];
    const off = await launch('three', { disabled: {} });
    for (const id of [one, two, off]) await print(id, `${id}\n`);
    const { logStreams } = await bed.logs.send(new DescribeLogStreamsCommand({ logGroupIdentifier: 'arn:aws:logs:us-east-1:000000000000:log-group:mine:*' }));
    assert.deepEqual(logStreams?.map(({ logStreamName }) => logStreamName), ['shared', `shared/${two}`]);
    assert.deepEqual(new Set(messages(await filter({ logGroupName: 'mine' }))), new Set([one, two]));
    const { logGroups } = await bed.logs.send(new DescribeLogGroupsCommand({}));
    assert.deepEqual(logGroups?.map(({ logGroupName }) => logGroupName), [GROUP, 'mine']);
    assert.deepEqual(messages(await filter()), []);
  });

  test('a build’s output and steps are in a stream of their own', async () => {
    await mkdir(bed.buildLogDir('first'), { recursive: true });
    const clock = { nowMs: () => bed.logTime.nowMs };
    const buildId = versionRecord('app', '1.0').build.buildId;
    using log = createBuildLogs({ clock }).open(join(bed.buildLogDir('first'), 'build.ndjson'));
    await log.step('container', async () => {
      bed.logTime.nowMs += 5;
      log.line('container', 'STEP 1/2: FROM lull/base');
      log.line('container', '');
    });
    const logStreamName = `2026/11/27[1.0]build-${buildId}`;
    const { events } = await bed.logs.send(new GetLogEventsCommand({ logGroupName: GROUP, logStreamName }));
    assert.deepEqual(events?.slice(0, 2).map(({ timestamp, message }) => [timestamp, message]), [[T0, '== container'], [T0 + 5, 'STEP 1/2: FROM lull/base']]);
    assert.match(events?.[2]?.message ?? '', /^== container finished in [\d.]+ ms$/);
    assert.deepEqual(messages(await filter({ filterPattern: '"FROM lull"' })), ['STEP 1/2: FROM lull/base']);
  });

  test('pages go both ways, and the token of an end is given again there', async () => {
    const id = await launch('one');
    const lines = Array.from({ length: 10 }, (_, n) => `line ${n}`);
    for (const [n, line] of lines.entries()) await print(id, `${line}\n`, T0 + n * 10);
    const newest = await read(id, { limit: 4 });
    assert.deepEqual(messages(newest), lines.slice(6));
    const older = await read(id, { limit: 4, nextToken: newest.nextBackwardToken });
    assert.deepEqual(messages(older), lines.slice(2, 6));
    const oldest = await read(id, { limit: 4, nextToken: older.nextBackwardToken });
    assert.deepEqual(messages(oldest), lines.slice(0, 2));
    const before = await read(id, { limit: 4, nextToken: oldest.nextBackwardToken });
    assert.deepEqual([messages(before), before.nextBackwardToken], [[], oldest.nextBackwardToken]);
    const again = await read(id, { limit: 4, nextToken: oldest.nextForwardToken, startFromHead: true });
    assert.deepEqual(messages(again), lines.slice(2, 6));
    const end = await read(id, { nextToken: newest.nextForwardToken, startFromHead: true });
    assert.deepEqual([messages(end), end.nextForwardToken], [[], newest.nextForwardToken]);
    await print(id, 'later\n', T0 + 500);
    assert.deepEqual(messages(await read(id, { nextToken: end.nextForwardToken, startFromHead: true })), ['later']);
    assert.deepEqual(messages(await read(id, { startTime: T0 + 20, endTime: T0 + 50, startFromHead: true })), lines.slice(2, 5));
    assert.deepEqual(messages(await read(id, { startTime: T0 + 20, endTime: T0 + 50, limit: 2 })), lines.slice(3, 5));
  });

  test('what is rotated away is passed over, tokens go on, and a later server goes on where the last one was', async () => {
    const id = await launch('one');
    const block = `${'x'.repeat(1023)}\n`.repeat(1024);
    await print(id, 'first\n', T0);
    const start = await read(id, { limit: 1, startFromHead: true });
    for (let mib = 0; mib < 20; mib += 1) await print(id, block, T0 + 1000 + mib);
    bed.applicationLogs.letGo(id);
    await print(id, 'last\n', T0 + 9000);
    assert.deepEqual(messages(await read(id, { limit: 1 })), ['last']);
    const next = await read(id, { limit: 1, nextToken: start.nextForwardToken, startFromHead: true });
    assert.equal(next.events?.[0]?.message?.length, 1023);
    assert.ok((next.events?.[0]?.timestamp ?? 0) > T0 + 1000);
    const late = await filter({ startTime: T0 + 1019, filterPattern: '-nothing', limit: 3000 });
    assert.equal(late.events?.length, 1000 - 1, 'as much as fits in 1 MiB: 1023 and 26 bytes each');
    assert.ok(late.nextToken);
  });

  test('a long line is more than one event, cut between characters', async () => {
    const id = await launch('one');
    const line = `a${'é'.repeat(200 * 1024)}`;
    await print(id, `${line}\nshort\n`);
    const all = messages(await read(id, { startFromHead: true }));
    assert.equal(all.length, 3);
    assert.equal(all.slice(0, 2).join(''), line);
    assert.ok(all.every((message) => Buffer.byteLength(message ?? '') <= 256 * 1024 && !message?.includes('\u{fffd}')));
  });

  test('FilterLogEvents puts the streams of a group in order of time, in pages', async () => {
    const [one, two] = [await launch('one'), await launch('two')];
    for (let n = 0; n < 6; n += 1) await print(n % 2 === 0 ? one : two, `event ${n}\n`, T0 + n);
    const pages: unknown[] = [];
    for await (const page of paginateFilterLogEvents({ client: bed.logs, pageSize: 4 }, { logGroupName: GROUP })) pages.push(messages(page));
    assert.deepEqual(pages, [['event 0', 'event 1', 'event 2', 'event 3'], ['event 4', 'event 5']]);
    assert.deepEqual(messages(await filter({ logStreamNames: [streamName(two)] })), ['event 1', 'event 3', 'event 5']);
    assert.deepEqual(messages(await filter({ logStreamNamePrefix: streamName(one), startTime: T0 + 2, endTime: T0 + 4 })), ['event 2', 'event 4']);
    assert.deepEqual(messages(await filter({ endTime: T0 })), ['event 0'], 'the end is part of the time');
    const { events } = await filter();
    assert.equal(new Set(events?.map(({ eventId }) => eventId)).size, 6);
  });

  test('a token is taken back, however long the question was; that of another question is refused', async () => {
    const id = await launch('one');
    await print(id, 'event 0\nevent 1\n');
    const logStreamNames = [streamName(id), ...Array.from({ length: 99 }, (_, n) => String(n).padStart(512, '\u{20ac}'))];
    const { nextToken } = await filter({ logStreamNames, limit: 1 });
    assert.deepEqual(messages(await filter({ logStreamNames, limit: 1, nextToken })), ['event 1']);
    await assert.rejects(filter({ logStreamNames: logStreamNames.slice(1), limit: 1, nextToken }), { name: 'InvalidParameterException' });
  });

  test('filter patterns', async () => {
    const id = await launch('one');
    await print(id, 'ERROR disk full\nERROR net down\nWARN disk slow\nINFO "all" well\n');
    const cases: [pattern: string, lines: number[]][] = [
      ['', [0, 1, 2, 3]],
      ['ERROR', [0, 1]],
      ['ERROR disk', [0]],
      ['disk -ERROR', [2]],
      ['-ERROR -WARN', [3]],
      ['?WARN ?INFO', [2, 3]],
      ['?WARN ERROR', [0, 1]],
      ['"disk full"', [0]],
      ['"\\"all\\""', [3]],
      ['-"disk full" ERROR', [1]],
      ['error', []],
    ];
    const all = messages(await filter());
    for (const [filterPattern, lines] of cases) assert.deepEqual(messages(await filter({ filterPattern })), lines.map((n) => all[n]), filterPattern);
    for (const filterPattern of ['{ $.level = "x" }', '[a, b]', '%AUTH%', '"unended']) {
      await assert.rejects(filter({ filterPattern }), { name: 'InvalidParameterException', message: /^Invalid filter pattern/ }, filterPattern);
    }
  });

  test('streams by name and by their last event, a page at a time', async () => {
    const ids: string[] = [];
    for (const [n, name] of ['one', 'two', 'three', 'four'].entries()) ids.push(await launch(name).then(async (id) => (await print(id, 'x\n', T0 + [30, 10, 40, 20][n]!), id)));
    const byTime = [1, 3, 0, 2].map((n) => streamName(ids[n]!));
    const list = async (more: object) => {
      const names: (string | undefined)[] = [];
      for await (const { logStreams } of paginateDescribeLogStreams({ client: bed.logs, pageSize: 2 }, { logGroupName: GROUP, ...more })) {
        names.push(...(logStreams ?? []).map(({ logStreamName }) => logStreamName).filter((name) => !name?.includes('build')));
      }
      return names;
    };
    const byName = ids.map(streamName).toSorted();
    assert.deepEqual(await list({}), byName);
    assert.deepEqual(await list({ descending: true }), byName.toReversed());
    assert.deepEqual(await list({ orderBy: 'LastEventTime' }), byTime);
    assert.deepEqual(await list({ orderBy: 'LastEventTime', descending: true }), byTime.toReversed());
    await assert.rejects(list({ orderBy: 'LastEventTime', logStreamNamePrefix: 'x' }), { name: 'InvalidParameterException', message: 'Cannot order by LastEventTime with a logStreamNamePrefix.' });
  });

  test('groups: made, kept for so many days, deleted', async () => {
    const logGroupName = 'own/group';
    await bed.logs.send(new CreateLogGroupCommand({ logGroupName }));
    await assert.rejects(bed.logs.send(new CreateLogGroupCommand({ logGroupName })), { name: 'ResourceAlreadyExistsException', message: 'The specified log group already exists' });
    await bed.logs.send(new PutRetentionPolicyCommand({ logGroupName, retentionInDays: 7 }));
    const shown = async () => (await bed.logs.send(new DescribeLogGroupsCommand({ logGroupNamePrefix: 'own' }))).logGroups;
    assert.equal((await shown())?.[0]?.retentionInDays, 7);
    await bed.logs.send(new DeleteRetentionPolicyCommand({ logGroupName }));
    assert.equal((await shown())?.[0]?.retentionInDays, undefined);
    await assert.rejects(bed.logs.send(new PutRetentionPolicyCommand({ logGroupName, retentionInDays: 8 })), { name: 'InvalidParameterException', message: /Value '8' at 'retentionInDays' failed to satisfy constraint: Member must satisfy enum value set: \[1, 3,/ });
    assert.deepEqual((await bed.logs.send(new DescribeLogGroupsCommand({ logGroupNamePattern: 'microvms' }))).logGroups?.map(({ logGroupName: name }) => name), [GROUP]);
    await bed.logs.send(new DeleteLogGroupCommand({ logGroupName }));
    assert.deepEqual(await shown(), []);
    await assert.rejects(bed.logs.send(new DeleteLogGroupCommand({ logGroupName })), { name: 'ResourceNotFoundException', message: 'The specified log group does not exist.' });
    const id = await launch('one');
    await print(id, 'x\n');
    await assert.rejects(bed.logs.send(new DeleteLogGroupCommand({ logGroupName: GROUP })), { name: 'OperationAbortedException', message: new RegExp(id) });
    await bed.store.microvms.apply(id, 'terminate');
    await bed.store.microvms.apply(id, 'terminated');
    await bed.logs.send(new DeleteLogGroupCommand({ logGroupName: GROUP }));
    assert.equal(await bed.applicationLogs.extent(id), undefined, 'its lines are gone');
  });

  test('a group that several delete at once goes once, whatever streams it has', { timeout: 20_000 }, async () => {
    const logGroup = 'crowded';
    for (let n = 0; n < 60; n += 1) {
      const id = await launch(`n${n}`, { cloudWatch: { logGroup } });
      await bed.store.microvms.apply(id, 'terminate');
      await bed.store.microvms.apply(id, 'terminated');
    }
    const remove = () => bed.logs.send(new DeleteLogGroupCommand({ logGroupName: logGroup }));
    const outcomes = await Promise.allSettled([remove(), remove(), remove()]);
    const refusals = outcomes.filter((outcome) => outcome.status === 'rejected').map(({ reason }) => (reason as Error).name);
    assert.deepEqual(refusals, ['ResourceNotFoundException', 'ResourceNotFoundException']);
    assert.deepEqual((await bed.logs.send(new DescribeLogGroupsCommand({ logGroupNamePrefix: logGroup }))).logGroups, []);
  });

  test('old logs go, then the oldest where all are too large; what is written to stays', async () => {
    const end = async (id: string) => {
      await bed.store.microvms.apply(id, 'terminate');
      await bed.store.microvms.apply(id, 'terminated');
    };
    const line = `${'x'.repeat(999)}\n`;
    const ids: string[] = [];
    for (const [n, name] of ['old', 'older', 'young', 'running'].entries()) {
      bed.logTime.nowMs = T0 + n * DAY_MS;
      const id = await launch(name);
      await print(id, line);
      ids.push(id);
      if (name !== 'running') await end(id);
    }
    const clock = new SteeredClock(T0 + 3 * DAY_MS + 1);
    const left = async (daysKept: number, maxBytes: number) => {
      await using retention = new LogRetention({ catalogue: bed.catalogue, clock, log: SILENT, daysKept, maxBytes });
      await retention.sweep();
      const kept = await Promise.all(ids.map((id) => bed.applicationLogs.extent(id)));
      return kept.map((extent) => extent !== undefined);
    };
    assert.deepEqual(await left(30, 1e9), [true, true, true, true]);
    await bed.store.logs.setRetention(GROUP, 5);
    assert.deepEqual(await left(3, 1e9), [false, true, true, true], 'the shorter of the two counts');
    await bed.store.logs.setRetention(GROUP, 2);
    assert.deepEqual(await left(30, 1e9), [false, false, true, true]);
    await bed.store.logs.setRetention(GROUP, null);
    assert.deepEqual(await left(30, 2000), [false, false, true, true]);
    assert.deepEqual(await left(30, 1999), [false, false, false, true]);
    assert.deepEqual(await left(30, 1), [false, false, false, true]);
    const names = (await bed.logs.send(new DescribeLogStreamsCommand({ logGroupName: GROUP }))).logStreams?.map(({ logStreamName }) => logStreamName);
    assert.deepEqual(names, [`2026/11/30[1.0]${ids[3]}`]);
  });

  test('refused in the words of the service, all with 400', async () => {
    const id = await launch('one');
    const refusals: [call: () => Promise<unknown>, { name: string; message?: string | RegExp }][] = [
      [() => bed.logs.send(new GetLogEventsCommand({ logGroupName: 'none', logStreamName: 'x' })), { name: 'ResourceNotFoundException', message: 'The specified log group does not exist.' }],
      [() => bed.logs.send(new GetLogEventsCommand({ logGroupName: GROUP, logStreamName: 'x' })), { name: 'ResourceNotFoundException', message: 'The specified log stream does not exist.' }],
      [() => read(id, { nextToken: 'f/../x' }), { name: 'InvalidParameterException', message: 'The specified nextToken is invalid.' }],
      [() => read(id, { limit: 10_001 }), { name: 'InvalidParameterException', message: "1 validation error detected: Value '10001' at 'limit' failed to satisfy constraint: Member must have value less than or equal to 10000" }],
      [() => filter({ nextToken: 'bm90IG9uZQ' }), { name: 'InvalidParameterException' }],
      [() => filter({ logStreamNames: ['a'], logStreamNamePrefix: 'a' }), { name: 'InvalidParameterException' }],
      [() => bed.logs.send(new DescribeLogStreamsCommand({})), { name: 'InvalidParameterException' }],
    ];
    for (const [call, refusal] of refusals) {
      await assert.rejects(call(), (error: { name: string; message: string; $metadata: { httpStatusCode: number; requestId: string } }) => {
        assert.equal(error.name, refusal.name);
        if (refusal.message instanceof RegExp) assert.match(error.message, refusal.message);
        else if (refusal.message !== undefined) assert.equal(error.message, refusal.message);
        assert.equal(error.$metadata.httpStatusCode, 400);
        assert.match(error.$metadata.requestId, /^[0-9a-f-]{36}$/);
        return true;
      });
    }
  });

  test('what is no request of the protocol, and what is not signed or not so', async () => {
    const type = { 'content-type': 'application/x-amz-json-1.1' };
    const target = { ...type, 'x-amz-target': 'Logs_20140328.DescribeLogGroups' };
    const cases: [title: string, headers: Record<string, string>, body: string, code: string][] = [
      ['no target', type, '{}', 'UnknownOperationException'],
      ['another service', { ...type, 'x-amz-target': 'DynamoDB_20120810.ListTables' }, '{}', 'UnknownOperationException'],
      ['another operation', { ...type, 'x-amz-target': 'Logs_20140328.constructor' }, '{}', 'UnknownOperationException'],
      ['no JSON', target, '{', 'SerializationException'],
      ['a list', target, '[]', 'SerializationException'],
      ['a wrong type', target, '{"limit":"5"}', 'SerializationException'],
    ];
    for (const [title, headers, body, code] of cases) {
      const answer = await bed.call('POST', '/', { service: 'logs', headers, body });
      assert.deepEqual([answer.status, answer.headers.get('x-amzn-errortype'), JSON.parse(answer.text).__type], [400, code, code], title);
      assert.ok(answer.headers.get('x-amzn-requestid'));
    }
    const bare = await fetch(bed.origin, { method: 'POST', headers: target, body: '{}' });
    assert.deepEqual([bare.status, bare.headers.get('x-amzn-errortype')], [400, 'MissingAuthenticationTokenException']);
    const forged = new CloudWatchLogsClient({ endpoint: bed.origin, region: 'us-east-1', maxAttempts: 1, credentials: { ...CREDENTIALS, secretAccessKey: 'guess' } });
    await assert.rejects(forged.send(new DescribeLogGroupsCommand({})), { name: 'InvalidSignatureException' });
    const altered = (change: (headers: Record<string, string>) => void) => {
      const client = new CloudWatchLogsClient({ endpoint: bed.origin, region: 'us-east-1', maxAttempts: 1, credentials: { ...CREDENTIALS } });
      client.middlewareStack.add(
        (next) => (args) => {
          change((args.request as { headers: Record<string, string> }).headers);
          return next(args);
        },
        { step: 'finalizeRequest', priority: 'low' },
      );
      return client.send(new DescribeLogGroupsCommand({}));
    };
    await assert.rejects(altered((headers) => (headers['x-amz-target'] = 'Logs_20140328.DeleteLogGroup')), { name: 'InvalidSignatureException' });
    await assert.rejects(
      altered((headers) => (headers['authorization'] = headers['authorization']!.replace(';x-amz-target', ''))),
      { name: 'InvalidSignatureException', message: 'There were headers present in the request which were not signed: x-amz-target' },
    );
  });
});
