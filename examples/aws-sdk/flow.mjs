// A microVM's whole life with AWS's own SDKs: node flow.mjs ARTIFACT.zip NAME, after eval "$(lull env)". Nothing in it knows Lull.
import { readFile } from 'node:fs/promises';
import { LambdaMicrovms } from '@aws-sdk/client-lambda-microvms';
import { S3 } from '@aws-sdk/client-s3';
const [zip, name] = process.argv.slice(2);
const [lambda, s3] = [new LambdaMicrovms(), new S3({ forcePathStyle: true })];
const reach = async (what, wanted, ask) => {
  for (let state = await ask(); state !== wanted; state = await ask()) {
    if (/FAILED|TERMINATED/.test(state)) throw new Error(`${what}: ${state}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  console.log(`${what}: ${wanted}`);
};
await s3.createBucket({ Bucket: 'examples' });
await s3.putObject({ Bucket: 'examples', Key: `${name}.zip`, Body: await readFile(zip) });
const [baseImageArn, buildRoleArn] = ['arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1', 'arn:aws:iam::000000000000:role/build'];
const { imageArn: imageIdentifier } = await lambda.createMicrovmImage({ name, baseImageArn, buildRoleArn, codeArtifact: { uri: `s3://examples/${name}.zip` } });
await reach('image', 'CREATED', async () => (await lambda.getMicrovmImage({ imageIdentifier })).state);
const idlePolicy = { maxIdleDurationSeconds: 900, suspendedDurationSeconds: 3600, autoResumeEnabled: true };
const { microvmId: microvmIdentifier, endpoint } = await lambda.runMicrovm({ imageIdentifier, idlePolicy });
const token = await lambda.createMicrovmAuthToken({ microvmIdentifier, expirationInMinutes: 15, allowedPorts: [{ port: 8080 }] });
const ask = async (what) => console.log(`${what} answer: ${await (await fetch(`https://${endpoint}/`, { headers: token.authToken })).text()}`.trim());
const state = async () => (await lambda.getMicrovm({ microvmIdentifier })).state;
await ask('first');
await ask('second');
await lambda.suspendMicrovm({ microvmIdentifier });
await reach('microVM', 'SUSPENDED', state);
await ask('third (it sleeps, and wakes)');
await lambda.terminateMicrovm({ microvmIdentifier });
console.log(`microVM: ${await state()}`);
