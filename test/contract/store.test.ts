import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';
import { openStore } from '../../src/store/store.ts';
import { storeContract } from './store.ts';

const folder = mkdtempSync(join(tmpdir(), 'lull-store-'));
after(() => rmSync(folder, { recursive: true }));

let files = 0;
storeContract('a file', () => openStore({ path: join(folder, `${++files}.db`) }));
storeContract('memory', () => openStore({ path: ':memory:' }));
