/** Takes the data folder argv[2], says so, and holds it until it is killed. */
import { lockDataFolder } from '../../../src/store/data-lock.ts';

using _lock = lockDataFolder(process.argv[2]!);
process.stdout.write('locked\n');
process.stdin.resume();
await new Promise((resolve) => process.stdin.once('end', resolve));
