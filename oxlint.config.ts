/**
 * The rules of the house (CONTRIBUTING.md) as far as a machine can hold them. {@link WALLS} is the table of ARCHITECTURE.md:
 * who may import whom; `test/unit/house/walls.test.ts` proves each wall.
 */
import { defineConfig } from 'oxlint';
import manifest from './package.json' with { type: 'json' };

/** What a folder of `src` may import besides itself. */
export interface Wall {
  /** Other folders of `src`; `all` for the wiring. */
  readonly folders: readonly string[] | 'all';
  /** Packages of package.json; one that no wall names is not for `src` at all. */
  readonly packages: readonly string[];
  /** How much of Node: everything, or its types alone (a pure folder). Everything where left out. */
  readonly node?: 'types';
}

/** Every folder of `src`. A folder that is not here may not exist (`tidy.test.ts`). */
export const WALLS: Readonly<Record<string, Wall>> = {
  main: { folders: 'all', packages: ['commander', 'pino', 'smol-toml', 'zod'] },
  bench: { folders: 'all', packages: ['pino', 'zod'] },
  cli: { folders: ['client', 'contract', 'lib'], packages: ['commander', 'yazl', 'zod'] },
  client: { folders: ['contract', 'lib'], packages: ['ws', 'zod'] },
  contract: { folders: ['lib'], packages: ['zod'] },
  metrics: { folders: ['control', 'proxy', 'domain', 'lib'], packages: ['prom-client'] },
  api: { folders: ['control', 'contract', 'domain', 'lib'], packages: ['fastify', 'zod'] },
  proxy: { folders: ['domain', 'lib'], packages: ['jose', 'ws', 'zod'] },
  control: { folders: ['domain', 'lib'], packages: ['zod'] },
  store: { folders: ['domain', 'lib'], packages: ['kysely', 'zod'] },
  runtime: { folders: ['vmm', 'guest', 'host', 'domain', 'lib'], packages: ['zod'] },
  image: { folders: ['guest', 'host', 'domain', 'lib'], packages: ['yauzl', 'zod'] },
  vmm: { folders: ['host', 'domain', 'lib'], packages: ['zod'] },
  guest: { folders: ['host', 'domain', 'lib'], packages: ['zod'] },
  network: { folders: ['host', 'domain', 'lib'], packages: [] },
  setup: { folders: ['host', 'domain', 'lib'], packages: ['zod'] },
  host: { folders: ['domain', 'lib'], packages: ['zod'] },
  domain: { folders: ['lib'], packages: [], node: 'types' },
  lib: { folders: [], packages: [] },
};

/** Folders that only these import, whatever the walls say. */
const ONLY_FOR: Readonly<Record<string, readonly string[]>> = { setup: ['main'], network: ['main'], bench: ['main'], metrics: ['main', 'bench'], main: [] };

/** Folders beside `src`, of which the sources know nothing. */
const OUTSIDE = ['test', 'build', 'examples', 'web', 'docs'];

/** Every package that a wall can close; one that package.json does not name is caught by `tidy.test.ts`. */
const PACKAGES = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies, ...manifest.devDependencies });

/** What of Node's files leaves no mark: whatever else is wanted passes `src/lib/files.ts`. */
const READING = [
  'access',
  'constants',
  'createReadStream',
  'existsSync',
  'fstatSync',
  'lstatSync',
  'readdir',
  'readFile',
  'readFileSync',
  'readlink',
  'realpath',
  'realpathSync',
  'stat',
  'statfs',
];

/**
 * Where files are written and processes started directly. Everywhere else in `src` it is an effect (`src/lib/effects.ts`), which
 * the walk over all crashes (`test/faults`) stops at, so that no step of a microVM's or an image's life is left out of it.
 */
export const EFFECTS_APART: Readonly<Record<string, string>> = {
  'src/lib/files.ts': 'the seam itself',
  'src/lib/open-file.ts': 'opens for reading',
  'src/host/**': 'Linux behind the seam',
  'src/vmm/**': 'drivers: each order to a machine is an effect, given by driver-effects.ts',
  'src/setup/**': 'the platform, no part of any microVM; made beside and renamed',
  'src/cli/**': 'a client of the server',
  'src/client/**': 'a client of the server',
  'src/bench/**': 'benchmarks',
  'src/main/run-tests.ts': 'starts the tests',
  'src/main/{config-file,metrics-token}.ts': 'read, and look at who may write',
  'src/main/server.ts': 'makes the folders of the server before anything else',
  'src/main/container-builder.ts': 'folders of the builder, emptied at each start',
  'src/proxy/{certificates,openssl}.ts': 'certificates, made once and renamed as a whole',
  'src/image/{artifact,build-sandbox,build-egress,container-build}.ts': 'inside the steps unpack and container, each an effect as a whole; processes die with the server',
  'src/image/build-log.ts': 'a log: what cannot be written to it is left out of it',
  'src/runtime/{application-log,output-times}.ts': 'a log: what cannot be written to it is counted and said in it',
  'src/store/blobs.ts': 'opens for reading',
  'src/store/data-lock.ts': 'the lock of the data folder',
};

const FUNCTION_LINES = 70;
const FILE_LINES = 400;

const isOpen = (from: string, wall: Wall, to: string) =>
  from === to || ((wall.folders === 'all' || wall.folders.includes(to)) && (ONLY_FOR[to] ?? [from]).includes(from));

const folderOf = (path: string) => path.split('/')[1]!;

/** One folder's walls as patterns over what stands between the quotes of an import. */
function restrictions(folder: string, wall: Wall, isApart: boolean): { paths: object[]; patterns: object[] } {
  const closed = Object.keys(WALLS).filter((other) => !isOpen(folder, wall, other));
  const foreign = PACKAGES.filter((name) => !wall.packages.includes(name));
  const patterns: object[] = [
    { regex: `^(\\.\\./)+(${closed.join('|')})/`, message: `src/${folder} may not import this folder: see the table in ARCHITECTURE.md.` },
    { regex: '^(\\.\\./)+src/', message: 'Inside src, paths do not go through src.' },
    { regex: `^(\\.\\./){2,}(${OUTSIDE.join('|')})/`, message: 'The sources do not import what is beside src.' },
    { regex: `^(${foreign.join('|')})(/|$)`, message: `Of packages, src/${folder} may import: ${wall.packages.join(', ') || 'none'}.` },
  ];
  if (wall.node === 'types') {
    patterns.push({ regex: '^node:', allowTypeImports: true, message: `src/${folder} is pure: of Node it knows types only.` });
  }
  if (folder === 'runtime') {
    patterns.push({ regex: '^(\\.\\./)+vmm/[^/]+/', message: 'src/runtime knows the interface in src/vmm, and no driver.' });
  }
  const message = 'What leaves a mark passes src/lib/files.ts, src/host or a driver: see EFFECTS_APART in oxlint.config.ts.';
  const paths = [
    { name: 'node:fs', allowImportNames: READING, message },
    { name: 'node:fs/promises', allowImportNames: READING, message },
    { name: 'node:child_process', allowImportNames: [], allowTypeImports: true, message },
  ];
  return { paths: isApart || wall.node === 'types' ? [] : paths, patterns };
}

/** Calls of `node:test` return promises that its runner awaits. */
const AWAITED_BY_RUNNER = [
  { from: 'package' as const, package: 'node:test', name: ['test', 'it', 'suite', 'describe'] },
];

export default defineConfig({
  plugins: ['eslint', 'typescript', 'unicorn', 'oxc', 'import', 'node', 'promise'],
  categories: { correctness: 'error' },
  env: { builtin: true, node: true },
  ignorePatterns: ['dist/**', 'guest/**', 'web/**'],
  rules: {
    'eslint/eqeqeq': 'error',
    'eslint/max-lines': ['error', { max: FILE_LINES, skipBlankLines: true, skipComments: true }],
    'eslint/max-lines-per-function': ['error', { max: FUNCTION_LINES, skipBlankLines: true, skipComments: true, IIFEs: true }],
    'eslint/max-params': ['error', { max: 3 }],
    'eslint/no-console': 'error',
    // What guests and builds print is cleaned of control characters.
    'eslint/no-control-regex': 'off',
    'eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
    'eslint/no-var': 'error',
    'eslint/prefer-const': 'error',
    'import/no-cycle': ['error', { ignoreTypes: false }],
    'import/no-default-export': 'error',
    'import/no-duplicates': 'error',
    'typescript/await-thenable': 'error',
    'typescript/no-explicit-any': 'error',
    'typescript/no-floating-promises': ['error', { allowForKnownSafeCalls: AWAITED_BY_RUNNER }],
    'typescript/no-misused-promises': 'error',
    'typescript/no-namespace': 'error',
    'typescript/no-unnecessary-type-assertion': 'error',
    'typescript/only-throw-error': 'error',
    'typescript/return-await': ['error', 'error-handling-correctness-only'],
    'typescript/switch-exhaustiveness-check': 'error',
    // An option and its value stay together in an argv: `...['-m', '512']`.
    'unicorn/no-useless-spread': 'off',
    'unicorn/prefer-node-protocol': 'error',
  },
  overrides: [
    ...Object.entries(WALLS).map(([folder, wall]) => ({
      files: [`src/${folder}/**`],
      rules: { 'eslint/no-restricted-imports': ['error', restrictions(folder, wall, false)] as ['error', object] },
    })),
    ...Object.keys(EFFECTS_APART).map((files) => ({
      files: [files],
      rules: { 'eslint/no-restricted-imports': ['error', restrictions(folderOf(files), WALLS[folderOf(files)]!, true)] as ['error', object] },
    })),
    { files: ['src/{cli,main,setup,bench}/**', 'examples/**', 'build/**'], rules: { 'eslint/no-console': 'off' } },
    { files: ['test/**'], rules: { 'eslint/max-lines-per-function': 'off' } },
    { files: ['oxlint.config.ts'], rules: { 'import/no-default-export': 'off' } },
  ],
});
