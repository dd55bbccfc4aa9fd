/** Writes microVMs without end into the store at argv[2] and prints the id of each when it is acknowledged. For a kill -9. */
import { openStore } from '../../../src/store/store.ts';
import { insertLaunchable, microvmRecord } from '../../fakes/records.ts';

const store = await openStore({ path: process.argv[2]! });
await insertLaunchable(store);
for (let n = 0; ; n += 1) {
  // Several at a time, so that the kill meets some of them half-way.
  await Promise.all(
    [0, 1, 2, 3].map(async (lane) => {
      const { microvmId } = microvmRecord(`${n}-${lane}`);
      await store.microvms.insert(microvmRecord(`${n}-${lane}`));
      await store.microvms.apply(microvmId, 'launched', { lastGeneration: 1 });
      process.stdout.write(`${microvmId}\n`);
    }),
  );
}
