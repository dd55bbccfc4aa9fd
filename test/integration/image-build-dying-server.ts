/** A server that starts a build in the folder that it is given, says so once RUN runs, and is then killed by its test. */
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createBuildLogs } from '../../src/image/build-log.ts';
import { testBuilder } from './image-build-fixture.ts';

const folder = process.argv[2] as string;
const contextDir = join(folder, 'dying');
mkdirSync(contextDir);
writeFileSync(join(contextDir, 'Dockerfile'), 'FROM lull/base\nRUN echo running; setsid sleep 1234\n');
chmodSync(contextDir, 0o755);
chmodSync(join(contextDir, 'Dockerfile'), 0o644);

const builder = await testBuilder(folder, { egress: 'auto' });
const logs = createBuildLogs({ clock: { nowMs: Date.now } });
const log = logs.open(join(contextDir, 'log'));
const { signal } = new AbortController();
void builder.build({ contextDir, tag: 'dying', log, signal });
for await (const event of logs.events(join(contextDir, 'log'), { follow: true, signal })) {
  if (event.type === 'line' && event.text === 'running') process.stdout.write('running\n');
}
