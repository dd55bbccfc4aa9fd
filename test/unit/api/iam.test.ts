import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  AttachRolePolicyCommand,
  CreateRoleCommand,
  DeleteRoleCommand,
  DeleteRolePolicyCommand,
  DetachRolePolicyCommand,
  GetRoleCommand,
  GetRolePolicyCommand,
  IAMClient,
  ListAttachedRolePoliciesCommand,
  ListRolePoliciesCommand,
  ListRoleTagsCommand,
  ListRolesCommand,
  PutRolePolicyCommand,
  UpdateAssumeRolePolicyCommand,
  paginateListRoles,
} from '@aws-sdk/client-iam';
import type { IAMServiceException } from '@aws-sdk/client-iam';
import { CREDENTIALS, startApi } from './bed.ts';
import type { ApiBed } from './bed.ts';

const TRUST = JSON.stringify({
  Version: '2012-10-17',
  Statement: [{ Effect: 'Allow', Principal: { Service: 'lambda.amazonaws.com' }, Action: ['sts:AssumeRole', 'sts:TagSession'] }],
});
const POLICY = JSON.stringify({ Version: '2012-10-17', Statement: { Effect: 'Allow', Action: 's3:*', Resource: 'arn:aws:s3:::b/*?&"<é' } });
const MANAGED = 'arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole';

describe('IAM', () => {
  let bed: ApiBed;
  before(async () => {
    bed = await startApi();
  });
  after(() => bed[Symbol.asyncDispose]());
  const create = (RoleName: string, more: { Path?: string } = {}) =>
    bed.iam.send(new CreateRoleCommand({ RoleName, AssumeRolePolicyDocument: TRUST, ...more }));

  test('a role is kept and shown, with its document percent-encoded', async () => {
    const { Role: made } = await bed.iam.send(
      new CreateRoleCommand({
        RoleName: 'Worker',
        Path: '/team/a/',
        AssumeRolePolicyDocument: TRUST,
        Description: 'works & rests',
        MaxSessionDuration: 7200,
        Tags: [{ Key: 'cost', Value: '1' }, { Key: 'team', Value: '' }],
      }),
    );
    assert.equal(made?.Arn, 'arn:aws:iam::000000000000:role/team/a/Worker');
    assert.match(made?.RoleId ?? '', /^AROA[A-Z2-7]{17}$/);
    const { Role: role } = await bed.iam.send(new GetRoleCommand({ RoleName: 'worker' }));
    assert.deepEqual(role, made);
    assert.deepEqual([role?.Description, role?.MaxSessionDuration, role?.Path], ['works & rests', 7200, '/team/a/']);
    assert.equal(role?.AssumeRolePolicyDocument, encodeURIComponent(TRUST));
    assert.ok(role?.CreateDate instanceof Date);
    const { Tags } = await bed.iam.send(new ListRoleTagsCommand({ RoleName: 'Worker' }));
    assert.deepEqual(Tags, [{ Key: 'cost', Value: '1' }, { Key: 'team', Value: '' }]);
    await bed.iam.send(new UpdateAssumeRolePolicyCommand({ RoleName: 'Worker', PolicyDocument: ` ${TRUST}` }));
    assert.equal((await bed.iam.send(new GetRoleCommand({ RoleName: 'Worker' }))).Role?.AssumeRolePolicyDocument, encodeURIComponent(` ${TRUST}`));
  });

  test('an installation begins with a role to build and one to run with', async () => {
    const { Roles = [], IsTruncated } = await bed.iam.send(new ListRolesCommand({ PathPrefix: '/' }));
    const names = Roles.map(({ RoleName }) => RoleName);
    assert.ok(names.includes('build') && names.includes('run'), names.join(' '));
    assert.equal(IsTruncated, false);
  });

  test('roles are listed by name, a page at a time, below a path', async () => {
    for (const name of ['delta', 'Alpha', 'charlie', 'bravo']) await create(name, { Path: '/listed/' });
    const pages: string[][] = [];
    for await (const { Roles } of paginateListRoles({ client: bed.iam, pageSize: 3 }, { PathPrefix: '/listed/' })) {
      pages.push((Roles ?? []).map(({ RoleName }) => RoleName ?? ''));
    }
    assert.deepEqual(pages, [['Alpha', 'bravo', 'charlie'], ['delta']]);
    await refused(bed.iam.send(new ListRolesCommand({ Marker: 'bm9uc2Vuc2U' })), { name: 'ValidationError' });
  });

  test('policies, inline and attached, stand in the way of a deletion', async () => {
    await create('holder');
    const RoleName = 'holder';
    await bed.iam.send(new PutRolePolicyCommand({ RoleName, PolicyName: 'read', PolicyDocument: POLICY }));
    await bed.iam.send(new PutRolePolicyCommand({ RoleName, PolicyName: 'read', PolicyDocument: POLICY }));
    await bed.iam.send(new AttachRolePolicyCommand({ RoleName, PolicyArn: MANAGED }));
    await bed.iam.send(new AttachRolePolicyCommand({ RoleName, PolicyArn: MANAGED }));
    const { PolicyDocument, PolicyName } = await bed.iam.send(new GetRolePolicyCommand({ RoleName, PolicyName: 'read' }));
    assert.deepEqual([PolicyName, decodeURIComponent(PolicyDocument ?? '')], ['read', POLICY]);
    assert.deepEqual((await bed.iam.send(new ListRolePoliciesCommand({ RoleName }))).PolicyNames, ['read']);
    assert.deepEqual((await bed.iam.send(new ListAttachedRolePoliciesCommand({ RoleName }))).AttachedPolicies, [
      { PolicyName: 'AWSLambdaBasicExecutionRole', PolicyArn: MANAGED },
    ]);
    const deletion = () => bed.iam.send(new DeleteRoleCommand({ RoleName }));
    await refused(deletion(), { name: 'DeleteConflictException', message: 'Cannot delete entity, must detach all policies first.', status: 409 });
    await bed.iam.send(new DetachRolePolicyCommand({ RoleName, PolicyArn: MANAGED }));
    await refused(deletion(), { name: 'DeleteConflictException', message: 'Cannot delete entity, must delete policies first.' });
    await bed.iam.send(new DeleteRolePolicyCommand({ RoleName, PolicyName: 'read' }));
    await deletion();
    await refused(bed.iam.send(new GetRoleCommand({ RoleName })), {
      name: 'NoSuchEntityException',
      message: 'The role with name holder cannot be found.',
      status: 404,
    });
  });

  test('of many at once each change is kept', async () => {
    await create('busy');
    const names = Array.from({ length: 8 }, (_, n) => `p${n}`);
    await Promise.all(names.map((PolicyName) => bed.iam.send(new PutRolePolicyCommand({ RoleName: 'busy', PolicyName, PolicyDocument: POLICY }))));
    assert.deepEqual((await bed.iam.send(new ListRolePoliciesCommand({ RoleName: 'busy' }))).PolicyNames, names);
    const made = await Promise.allSettled([create('once'), create('ONCE'), create('once')]);
    assert.deepEqual(made.map(({ status: outcome }) => outcome).toSorted(), ['fulfilled', 'rejected', 'rejected']);
  });

  test('refused in the words of IAM', async () => {
    await create('there');
    const RoleName = 'there';
    const big = JSON.stringify({ Statement: [{ Effect: 'Allow', Action: 'a'.repeat(10_300), Resource: '*' }] });
    const cases: [call: () => Promise<unknown>, Refusal][] = [
      [() => create('There'), { name: 'EntityAlreadyExistsException', message: 'Role with name There already exists.', status: 409 }],
      [() => create('no good'), { name: 'ValidationError', message: /^1 validation error detected: Value 'no good' at 'roleName' failed to satisfy constraint: Member must satisfy regular expression pattern: \[\\w\+=,\.@-\]\+$/ }],
      [() => bed.iam.send(new CreateRoleCommand({ RoleName: 'x', AssumeRolePolicyDocument: '{' })), { name: 'MalformedPolicyDocumentException', message: 'This policy contains invalid Json', status: 400 }],
      [() => bed.iam.send(new CreateRoleCommand({ RoleName: 'x', AssumeRolePolicyDocument: POLICY })), { name: 'MalformedPolicyDocumentException', message: 'AssumeRole policy must contain principals.' }],
      [() => bed.iam.send(new PutRolePolicyCommand({ RoleName, PolicyName: 'p', PolicyDocument: TRUST })), { name: 'MalformedPolicyDocumentException', message: 'Policy document should not specify a principal.' }],
      [() => bed.iam.send(new PutRolePolicyCommand({ RoleName, PolicyName: 'p', PolicyDocument: big })), { name: 'LimitExceededException', message: 'Maximum policy size of 10240 bytes exceeded for role there' }],
      [() => bed.iam.send(new GetRolePolicyCommand({ RoleName, PolicyName: 'toString' })), { name: 'NoSuchEntityException', message: 'The role policy with name toString cannot be found.' }],
      [() => bed.iam.send(new DetachRolePolicyCommand({ RoleName, PolicyArn: MANAGED })), { name: 'NoSuchEntityException', message: `Policy ${MANAGED} was not found.` }],
      [() => bed.iam.send(new DeleteRoleCommand({ RoleName: 'nobody' })), { name: 'NoSuchEntityException' }],
      [() => bed.iam.send(new ListRolesCommand({ MaxItems: 1001 })), { name: 'ValidationError', message: /at 'maxItems' failed to satisfy constraint: Member must have value less than or equal to 1000$/ }],
    ];
    for (const [call, refusal] of cases) await refused(call(), refusal);
  });

  test('forged and altered requests, and those for another region, are not let in', async () => {
    const far = new IAMClient({ endpoint: bed.origin, region: 'eu-central-1', credentials: { ...CREDENTIALS }, maxAttempts: 1 });
    await refused(far.send(new ListRolesCommand({})), { name: 'SignatureDoesNotMatch' });
    const forged = new IAMClient({ endpoint: bed.origin, region: 'us-east-1', credentials: { ...CREDENTIALS, secretAccessKey: 'guess' }, maxAttempts: 1 });
    await refused(forged.send(new ListRolesCommand({})), { name: 'SignatureDoesNotMatch', status: 403 });
    const altered = new IAMClient({ endpoint: bed.origin, region: 'us-east-1', credentials: { ...CREDENTIALS }, maxAttempts: 1 });
    altered.middlewareStack.add(
      (next) => (args) => {
        const request = args.request as { body: string };
        request.body = request.body.replace('RoleName=mine', 'RoleName=ours');
        return next(args);
      },
      { step: 'finalizeRequest', priority: 'low' },
    );
    await refused(altered.send(new DeleteRoleCommand({ RoleName: 'mine' })), { name: 'SignatureDoesNotMatch' });
  });
});

interface Refusal {
  readonly name: string;
  readonly message?: string | RegExp;
  readonly status?: number;
}

async function refused(call: Promise<unknown>, { name, message, status }: Refusal): Promise<void> {
  await assert.rejects(call, { name, ...(message === undefined ? {} : { message }) });
  const error = (await call.catch((reason: unknown) => reason)) as IAMServiceException;
  if (status !== undefined) assert.equal(error.$metadata.httpStatusCode, status);
  assert.match(error.$metadata.requestId ?? '', /^[0-9a-f-]{36}$/);
}
