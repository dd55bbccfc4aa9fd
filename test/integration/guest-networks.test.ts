/** The rules of microVMs' networks in this host's nftables: one table of ours, which comes and goes, and nobody else's. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { run } from '../../src/host/process.ts';
import { DIRECT } from '../../src/lib/effects.ts';
import { GuestNetworks, missingFor } from '../../src/network/guest-networks.ts';

const MARK = 'feed0123';
const options = { wanted: 'auto', mark: MARK, allowedNetworks: ['10.213.0.0/24'], resolver: '203.0.113.2', uid: process.getuid!(), effects: DIRECT } as const;
const others = async () => (await run(['nft', 'list', 'ruleset'])).replace(new RegExp(`table inet lull_net_${MARK} \\{\n[^]*?\n\\}\n`), '').replace(/table inet lull_(build|net)_[^]*?\n\}\n/g, '');
const ours = async () => (await run(['nft', 'list', 'tables'])).includes(`lull_net_${MARK}`);

describe('rules of microVMs\' networks', { skip: (await missingFor(process.getuid!())) ?? false }, () => {
  it('are one table, made anew at each start and removed once no microVM is left; every other table stays as it was', async () => {
    const before = await others();
    const networks = await GuestNetworks.open(options);
    assert.equal(await ours(), true);
    await (await GuestNetworks.open(options)).close();
    assert.equal(await ours(), false);
    await networks.close();
    assert.equal(await others(), before);
  });

  it('are put back where somebody has flushed them', async () => {
    const networks = await GuestNetworks.open(options);
    assert.deepEqual([...(await networks.reconcile())], []);
    await run(['nft', 'delete', 'table', 'inet', `lull_net_${MARK}`]);
    assert.deepEqual([...(await networks.reconcile())], [[`lull_net_${MARK}`, ['rules']]]);
    assert.equal(await ours(), true);
    await networks.close();
    assert.equal(await ours(), false);
  });

  it('stay while a microVM runs on without its server', async () => {
    const networks = await GuestNetworks.open(options);
    const network = networks.connect('internet');
    assert.ok(network.kind === 'routed');
    await run(['ip', 'tuntap', 'add', network.device, 'mode', 'tap']);
    try {
      await networks.close();
      assert.equal(await ours(), true);
      const next = networks.connect('internet');
      assert.ok(next.kind === 'routed' && next.device !== network.device && next.guestAddress !== network.guestAddress);
    } finally {
      await run(['ip', 'link', 'delete', network.device]);
    }
    await networks.close();
    assert.equal(await ours(), false);
  });

  it('let a private network that the configuration names be reached, and no other', async () => {
    await using stack = new AsyncDisposableStack();
    stack.adopt(await GuestNetworks.open(options), (networks) => networks.close());
    const rules = await run(['nft', 'list', 'table', 'inet', `lull_net_${MARK}`]);
    assert.match(rules, /ip daddr 10\.213\.0\.0\/24 meta l4proto tcp accept/);
    const none = await GuestNetworks.open({ ...options, mark: 'feed4567', wanted: 'none' });
    assert.deepEqual(none.connect('internet'), { kind: 'none' });
    await none.close();
  });
});

describe('a microVM without a way out', () => {
  it('has no card that is connected, where nobody is root or it names no connector', async () => {
    assert.equal(await missingFor(1000), 'only root can make them');
    const networks = await GuestNetworks.open({ ...options, uid: 1000 });
    assert.deepEqual(networks.connect('internet'), { kind: 'none' });
    assert.equal(networks.missing, 'only root can make them');
    await networks.close();
  });
});
