// The whole life of a microVM with AWS's own SDKs; only `eval "$(lull env)"` makes it run here instead of on AWS.
import { readFile } from 'node:fs/promises';
import { request } from 'node:https';
import * as microvms from '@aws-sdk/client-lambda-microvms';
import { CreateBucketCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';

const [zip, name = `counter-${Date.now()}`] = process.argv.slice(2);
const lambda = new microvms.LambdaMicrovmsClient({});
const until = async (what, ask, done) => {
  for (let state = await ask(); ; state = await ask()) {
    if (done(state)) return console.log(`${what}: ${state}`);
    if (/FAILED|TERMINATED/.test(state)) throw new Error(`${what}: ${state}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
};
const s3 = new S3Client({ forcePathStyle: true });
await s3.send(new CreateBucketCommand({ Bucket: 'examples' }));
await s3.send(new PutObjectCommand({ Bucket: 'examples', Key: `${name}.zip`, Body: await readFile(zip) }));
const image = await lambda.send(
  new microvms.CreateMicrovmImageCommand({
    name,
    baseImageArn: 'arn:aws:lambda:us-east-1:aws:microvm-image:al2023-1',
    buildRoleArn: 'arn:aws:iam::000000000000:role/build',
    codeArtifact: { uri: `s3://examples/${name}.zip` },
    resources: [{ minimumMemoryInMiB: 256 }],
  }),
);
const imageIdentifier = image.imageArn;
await until('image', async () => (await lambda.send(new microvms.GetMicrovmImageCommand({ imageIdentifier }))).state, (state) => state === 'CREATED');
const idlePolicy = { maxIdleDurationSeconds: 900, suspendedDurationSeconds: 3600, autoResumeEnabled: true };
const { microvmId: microvmIdentifier, endpoint } = await lambda.send(new microvms.RunMicrovmCommand({ imageIdentifier, idlePolicy }));
const { authToken } = await lambda.send(
  new microvms.CreateMicrovmAuthTokenCommand({ microvmIdentifier, expirationInMinutes: 15, allowedPorts: [{ port: 8080 }] }),
);
const get = () =>
  new Promise((resolve, reject) => {
    const call = request(`https://${endpoint}/`, { headers: authToken }, async (response) => {
      resolve(`${response.statusCode} ${Buffer.concat(await response.toArray()).toString().trim()}`);
    });
    call.on('error', reject).end();
  });
console.log(`first answer: ${await get()}`);
console.log(`second answer: ${await get()}`);
await lambda.send(new microvms.SuspendMicrovmCommand({ microvmIdentifier }));
await until('microVM', async () => (await lambda.send(new microvms.GetMicrovmCommand({ microvmIdentifier }))).state, (state) => state === 'SUSPENDED');
console.log(`answer after the wake: ${await get()}`);
await lambda.send(new microvms.TerminateMicrovmCommand({ microvmIdentifier }));
await until('microVM', async () => (await lambda.send(new microvms.GetMicrovmCommand({ microvmIdentifier }))).state, (state) => state === 'TERMINATED');
