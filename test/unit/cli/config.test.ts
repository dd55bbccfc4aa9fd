/** The configuration file between environment and defaults, and what `lull config` shows of all of them. */
import assert from 'node:assert/strict';
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import { parse as parseToml } from 'smol-toml';
import type { Terminal } from '../../../src/cli/command-line.ts';
import { runCommandLine } from '../../../src/cli/program.ts';
import { isLullError } from '../../../src/domain/errors.ts';
import { createMachine } from '../../../src/main/machine.ts';
import { OPTION_ROWS } from '../../../src/main/option-table.ts';
import { parseServerOptions } from '../../../src/main/options.ts';
import { gatherSetting, type OptionValues } from '../../../src/main/settings.ts';
import { hostArchitecture, writeManifest, type Manifest } from '../../../src/setup/platform.ts';

const folder = mkdtempSync(join(tmpdir(), 'lull-config-'));
after(() => rmSync(folder, { recursive: true }));
let files = 0;

/** A configuration file of its own. @returns its path */
function fileWith(text: string, mode = 0o644): string {
  const path = join(folder, `${(files += 1)}.toml`);
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

const USER = 1000;
const parse = (values: OptionValues, env: Record<string, string> = {}, uid = USER) => parseServerOptions(values, { env: { HOME: folder, ...env }, uid });

/** Runs one command. */
async function run(argv: readonly string[], env: Record<string, string> = {}) {
  let stdout = '';
  const said: string[] = [];
  const surroundings = { env: { HOME: folder, ...env }, uid: USER };
  const terminal: Terminal = {
    ...surroundings,
    dataFolder: () => gatherSetting('data', surroundings).value,
    out: (text) => void (stdout += text.toString()),
    say: (line) => void said.push(line),
    signal: new AbortController().signal,
  };
  const status = await runCommandLine(argv, { terminal, machine: createMachine(surroundings) });
  return { status, stdout, said };
}

const EVERYTHING = `
data = "/srv/lull"
region = "eu-west-1"
log-level = "warn"
limits = "aws"

[api]
listen = "0.0.0.0:8470"
hosts = ["s3.example.org"]
insecure-listen = true

[endpoints]
listen = ["127.0.0.1:1", "[::1]:1"]

[build]
at-once = 4
networks = ["10.0.0.0/8"]

[build.env]
no_proxy = "a,b=c"

[quotas]
memory = 2048
images = 3
`;

suite('the configuration file', () => {
  test('gives every kind of value: texts, numbers, switches, lists and tables', () => {
    const path = fileWith(EVERYTHING);
    const options = parse({ config: path });
    assert.equal(options.dataFolder, '/srv/lull');
    assert.deepEqual(options.realm, { region: { value: 'eu-west-1', source: `${path}:3` }, account: undefined });
    assert.deepEqual([options.listen, options.insecureListen, options.apiHosts], [{ host: '0.0.0.0', port: 8470 }, true, ['s3.example.org']]);
    assert.deepEqual(options.endpointListen, [{ host: '127.0.0.1', port: 1 }, { host: '::1', port: 1 }]);
    assert.equal(options.endpointListenIsDefault, false);
    // What has commas in it needs no other way of writing here.
    assert.deepEqual(options.buildEnvironment, { no_proxy: 'a,b=c' });
    assert.deepEqual(options.quotas, { limits: 'aws', given: { memory: 2048, images: 3 } });
    assert.equal(options.buildsAtOnce, 4);
    assert.equal(options.driver, 'auto');
  });

  test('loses to the environment, which loses to the command line', () => {
    const config = fileWith('data = "/file"\naccel = "tcg"\ndriver = "qemu"\n');
    const { dataFolder, accel, driver } = parse({ config, data: '/flag' }, { LULL_DATA: '/env', LULL_ACCEL: 'kvm', LULL_DRIVER: '' });
    assert.deepEqual([dataFolder, accel, driver], ['/flag', 'kvm', 'qemu']);
  });

  test('has its tables put together with those of environment and command line, entry by entry', () => {
    const config = fileWith('[quotas]\nmemory = 2048\nimages = 3\nversions = 5\n[build.env]\nhttp_proxy = "file"\nno_proxy = "a,b"\n');
    const options = parse({ config, quota: ['images=7'], buildEnv: ['http_proxy=flag'] }, { LULL_QUOTA: 'images=6,versions=9', LULL_BUILD_FILE: '/a=/b' });
    assert.deepEqual(options.quotas.given, { memory: 2048, images: 7, versions: 9 });
    assert.deepEqual(options.buildEnvironment, { http_proxy: 'flag', no_proxy: 'a,b' });
    assert.deepEqual(options.buildFiles, { '/a': '/b' });
  });

  test('has what is wrong in its tables told of it, whatever else is said', () => {
    const wrong = (file: string, quota: string) => () => parse({ config: fileWith(file), quota: [quota] });
    const refusal = (message: RegExp) => (error: unknown) => isLullError(error, 'validation') && message.test(error.message);
    assert.throws(wrong('[quotas]\nmoons = 1\n', 'images=1'), refusal(/\.toml:1: quotas unknown name moons$/));
    assert.throws(wrong('[quotas]\nmemory = 1\n', 'images=0'), refusal(/^--quota: images must be a whole number from 1 up$/));
  });

  test('is found by --config, by LULL_CONFIG, or in its usual place, where it may be missing', () => {
    const env = { LULL_CONFIG: fileWith('data = "/by-variable"') };
    assert.equal(parse({}, env).dataFolder, '/by-variable');
    assert.equal(parse({ config: fileWith('data = "/by-flag"') }, env).dataFolder, '/by-flag');
    assert.equal(parse({}).dataFolder, join(folder, '.local/share/lull'));
    const xdg = join(folder, 'xdg');
    mkdirSync(join(xdg, 'lull'), { recursive: true });
    writeFileSync(join(xdg, 'lull/lull.toml'), 'data = "/by-place"');
    assert.equal(parse({}, { XDG_CONFIG_HOME: xdg }).dataFolder, '/by-place');
    assert.equal(parse({ config: 'none' }, { XDG_CONFIG_HOME: xdg }).dataFolder, join(folder, '.local/share/lull'));
  });

  const WRONG: readonly [string, RegExp][] = [
    ['data = "/a"\nlisten = "127.0.0.1:1"\n', /^FILE:2: there is no setting listen \(`lull config` shows all\)\.$/],
    ['[api]\n\nlisten = "8470"\n', /^FILE:3: api\.listen must be HOST:PORT/],
    ['[api]\nlisten = 8470\n', /^FILE:2: api\.listen must be a string$/],
    ['api.insecure-listen = "yes"\n', /^FILE:1: api\.insecure-listen must be true or false$/],
    ['# why\nbuild = 3\n', /^FILE:2: build must be a table\.$/],
    ['data = "here"\n', /^FILE:1: data must be an absolute path$/],
    ['[quotas]\nmemory = 0\n', /^FILE:1: quotas memory must be a whole number from 1 up$/],
    ['[quotas]\nmemory = 1.5\n', /^FILE:1: quotas memory must be a whole number from 1 up$/],
    ['[quotas]\nmoons = 1\n', /^FILE:1: quotas unknown name moons$/],
    ['[build]\nenv = { a = 1 }\n', /^FILE:2: build\.env a must be NAME=VALUE$/],
    ['[build]\nnetworks = "10.0.0.0/8"\n', /^FILE:2: build\.networks must be a list of strings$/],
    ['__proto__ = 1\n', /^FILE:1: there is no setting __proto__/],
    ['data = "/a"\ndata = "/b"\n', /^FILE:2: /],
    ['data = \n', /^FILE:1: /],
  ];
  for (const [text, message] of WRONG) {
    test(`is refused in one line: ${JSON.stringify(text)}`, () => {
      const config = fileWith(text);
      assert.throws(
        () => parse({ config }),
        (error) => isLullError(error, 'validation') && message.test(error.message.replace(config, 'FILE')) && !error.message.includes('\n'),
      );
    });
  }

  test('that was named has to be there', () => {
    const config = join(folder, 'nowhere.toml');
    assert.throws(() => parse({ config }), (error) => isLullError(error, 'validation') && error.message.startsWith(`${config}: the configuration file cannot be read: ENOENT`));
  });

  test('is not believed by root where others can write to it', (t) => {
    const asRoot = (config: string) => parse({ config }, {}, 0);
    const refusal = (error: unknown) => isLullError(error, 'validation') && /others than root can write to it, and would decide what root runs/.test(error.message);
    for (const mode of [0o664, 0o646]) assert.throws(() => asRoot(fileWith('', mode)), refusal);
    const mine = fileWith('data = "/srv"');
    if (process.getuid?.() !== 0) {
      assert.throws(() => asRoot(mine), refusal);
      return t.diagnostic('that root’s own file is taken was not tried: this is not root');
    }
    assert.equal(asRoot(mine).dataFolder, '/srv');
    chownSync(mine, USER, USER);
    assert.throws(() => asRoot(mine), refusal);
  });

  test('has a key of its own for every option', () => {
    const keys = OPTION_ROWS.map(([, { key }]) => key);
    assert.equal(new Set(keys).size, keys.length);
    for (const key of keys) assert.match(key, /^[a-z0-9-]+(\.[a-z0-9-]+)?$/);
    // No key may be both a value and the table of another.
    assert.deepEqual(keys.filter((key) => keys.some((other) => other.startsWith(`${key}.`))), []);
  });
});

/** What set-up leaves, as far as it is read here. */
const SET_UP: Manifest = {
  version: 1,
  arch: hostArchitecture(),
  createdAtMs: 1,
  inputs: {},
  kernel: { id: 'k', path: 'kernel', release: '6.1' },
  initramfs: { id: 'i', path: 'initramfs' },
  agent: { id: 'a', path: 'agent' },
  qemu: { id: 'q', version: '8.2', path: 'qemu', argv: ['@/bin/qemu'] },
  baseImages: [],
};

suite('lull config', () => {
  test('shows every setting with where it comes from, as a file that says the same', async () => {
    const config = fileWith('data = "/srv/lull"\n[build.env]\nno_proxy = "a,b"\n[quotas]\nimages = 3\n');
    const shown = await run(['config', '--config', config, '--log-level', 'warn', '--base-map', 'a=b'], { LULL_ACCEL: 'tcg', LULL_LIMITS: 'aws' });
    assert.deepEqual([shown.status, shown.said], [0, []]);
    assert.match(shown.stdout, new RegExp(`^data = "/srv/lull" # ${config}:1$`, 'm'));
    assert.match(shown.stdout, /^log-level = "warn" # --log-level$/m);
    assert.match(shown.stdout, /^accel = "tcg" # LULL_ACCEL$/m);
    assert.match(shown.stdout, /^driver = "auto" # default$/m);
    assert.match(shown.stdout, new RegExp(`^images = 3 # ${config}:5$`, 'm'));
    assert.match(shown.stdout, new RegExp(`^\\[build\\.env\\]\nno_proxy = "a,b" # ${config}:3$`, 'm'));
    assert.match(shown.stdout, /^\[build\.files\] # default$/m);
    assert.match(shown.stdout, /^versions = 50 # default$/m);
    assert.match(shown.stdout, /^run-rate = 5 # LULL_LIMITS$/m);
    assert.match(shown.stdout, /^# cert is not set$/m);
    const again = await run(['config', '--config', fileWith(shown.stdout)]);
    assert.deepEqual(parseToml(again.stdout), parseToml(shown.stdout));
  });

  test('as JSON: value and source of each', async () => {
    const { stdout } = await run(['config', '--config', 'none', '--json', '--quota', 'memory=64'], { LULL_DATA: '/d' });
    const settings = JSON.parse(stdout) as Record<string, { value: unknown; source: string }>;
    assert.deepEqual(settings['data'], { value: '/d', source: 'LULL_DATA' });
    assert.deepEqual(settings['quotas.memory'], { value: 64, source: '--quota' });
    assert.deepEqual(settings['api.listen'], { value: '127.0.0.1:8470', source: 'default' });
    assert.deepEqual(settings['region'], { value: 'us-east-1', source: 'default' });
  });

  test('shows who said each entry of a table', async () => {
    const config = fileWith('[quotas]\nmemory = 64\nimages = 3\n[build]\nenv = { no_proxy = "a" }\n[build.base-map]\n"x.y/z:1" = "lull/python"\n');
    const argv = ['config', '--config', config, '--quota', 'images=4', '--base-map', 'a=b'];
    const { stdout } = await run(argv, { LULL_QUOTA: 'versions=5', LULL_BUILD_ENV: 'http_proxy=p' });
    for (const entry of [`memory = 64 # ${config}:2`, 'images = 4 # --quota', 'versions = 5 # LULL_QUOTA', `no_proxy = "a" # ${config}:5`, 'http_proxy = "p" # LULL_BUILD_ENV', `"x.y/z:1" = "lull/python" # ${config}:7`, 'a = "b" # --base-map']) {
      assert.ok(stdout.includes(`\n${entry}\n`), `${entry} in\n${stdout}`);
    }
    const settings = JSON.parse((await run([...argv, '--json'])).stdout) as Record<string, unknown>;
    assert.deepEqual(settings['build.base-map'], { value: { 'x.y/z:1': 'lull/python', a: 'b' }, source: '--base-map', entrySources: { 'x.y/z:1': `${config}:7`, a: '--base-map' } });
    assert.deepEqual(settings['build.files'], { value: {}, source: 'default' });
  });

  test('tells the region and account that the data folder was made with', async () => {
    const data = join(folder, 'made-elsewhere');
    mkdirSync(data);
    const kept = { region: 'eu-west-1', account: '123456789012', accessKeyId: 'AKIAEXAMPLE', secretAccessKey: 's' };
    writeFileSync(join(data, 'credentials.json'), JSON.stringify(kept));
    const { stdout } = await run(['config', '--config', 'none', '--data', data]);
    assert.match(stdout, new RegExp(`^region = "eu-west-1" # ${data}/credentials.json$`, 'm'));
    assert.doesNotMatch(stdout, /AKIAEXAMPLE/);
    const config = fileWith('log-level = "warn"\nregion = "eu-central-1"\n');
    const other = await run(['config', '--config', config, '--data', data], { LULL_ACCOUNT: '123456789012' });
    const refusal =
      `${data} was made for region eu-west-1 and account 123456789012, which are part of every ARN in it, ` +
      `but ${config}:2 says region eu-central-1: take that out, or give another folder with --data.`;
    assert.deepEqual(other, { status: 1, stdout: '', said: [refusal] });
  });

  test('says in one line what is wrong, with status 2', async () => {
    const wrong = await run(['config', '--config', fileWith('lisen = 1\n')]);
    assert.deepEqual([wrong.status, wrong.said.length, wrong.stdout], [2, 1, '']);
  });

  test('and every other command finds the server of the file', async () => {
    const { status, said } = await run(['ps'], { LULL_CONFIG: fileWith('data = "/srv/nobody"\n') });
    assert.deepEqual([status, said], [1, ['No server has run on /srv/nobody yet. Start one with `lull up`, or name its folder with --data.']]);
  });

  test('and the doctor tells the hook time-outs and the accelerator that a server of these settings has', async () => {
    const platform = mkdtempSync(join(folder, 'platform-'));
    await writeManifest(platform, SET_UP);
    for (const { path } of [SET_UP.kernel, SET_UP.initramfs, SET_UP.agent]) writeFileSync(join(platform, path), '');
    // There is no QEMU in its folder: KVM does not work with it, wherever the test runs.
    mkdirSync(join(platform, SET_UP.qemu.path));
    const config = fileWith('accel = "tcg"\n[hooks]\ntimeout-scale = 7\n');
    const details = async (env: Record<string, string>) => {
      const { stdout, said } = await run(['doctor', '--json'], { LULL_PLATFORM: platform, LULL_CONFIG: 'none', ...env });
      assert.deepEqual(said, []);
      const findings = JSON.parse(stdout) as { need: string; detail: string }[];
      return ['accelerator', 'hook time-outs'].map((need) => findings.find((finding) => finding.need === need)?.detail);
    };
    const [accelerator = '', timeouts] = await details({});
    assert.match(accelerator, /^tcg \(emulation: [^)]*\): .*\/dev\/kvm/);
    assert.equal(timeouts, "10 times AWS's, because of emulation (--hook-timeout-scale sets another factor)");
    const [chosen = '', longer] = await details({ LULL_CONFIG: config });
    assert.match(chosen, new RegExp(`: chosen \\(${config}:1\\); KVM: .*/dev/kvm`));
    assert.equal(longer, `7 times AWS's (${config}:3)`);
    assert.equal((await details({ LULL_CONFIG: config, LULL_HOOK_TIMEOUT_SCALE: '1' }))[1], "AWS's (LULL_HOOK_TIMEOUT_SCALE)");
  });

  test('`lull up --help` shows all options', async () => {
    const { stdout } = await run(['up', '--help']);
    for (const [, { flag, env }] of OPTION_ROWS) assert.ok(stdout.includes(flag) && stdout.includes(env), flag);
    assert.match(stdout, /--config <file>/);
  });
});
