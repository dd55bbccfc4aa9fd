/** Endpoint tokens: form, scope, rotation, restarts (section 6.1). */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { EndpointClaims } from '../../../src/domain/ports.ts';
import { createEndpointTokens } from '../../../src/proxy/tokens.ts';
import { MemoryTokenKeys, random, SteeredClock } from '../../fakes/proxy-bed.ts';

const CLAIMS: EndpointClaims = { microvmId: 'microvm-x', purpose: 'http', ports: [{ from: 8080, to: 8080 }, { from: 1, to: 65_535 }], expiresAtMs: 123 };
const DAY_MS = 24 * 60 * 60 * 1000;

function bed() {
  const [clock, keys] = [new SteeredClock(), new MemoryTokenKeys()];
  return { clock, keys, tokens: createEndpointTokens({ keys, clock, random }) };
}

suite('an endpoint token', () => {
  test('is a compact JWE with AWS’s header, and opens to its claims', async () => {
    const { tokens, keys } = bed();
    const token = await tokens.issue(CLAIMS);
    const parts = token.split('.');
    assert.equal(parts.length, 5);
    assert.equal(parts[1], '');
    const header = Buffer.from(parts[0]!, 'base64url').toString();
    assert.equal(header, `{"kid":"${keys.keys[0]!.kid}","alg":"dir","enc":"A256GCM"}`);
    assert.deepEqual(await tokens.open(token), CLAIMS);
    assert.deepEqual(await tokens.open(token), CLAIMS);
    assert.notEqual(await tokens.issue(CLAIMS), token);
  });

  test('survives a restart and the rotation of keys', async () => {
    const { tokens, keys, clock } = bed();
    const token = await tokens.issue(CLAIMS);
    clock.aheadMs = DAY_MS;
    const restarted = createEndpointTokens({ keys, clock, random });
    const later = await restarted.issue(CLAIMS);
    assert.equal(keys.keys.length, 2);
    assert.deepEqual(await restarted.open(token), CLAIMS);
    assert.deepEqual(await restarted.open(later), CLAIMS);
    await restarted.issue(CLAIMS);
    assert.equal(keys.keys.length, 2);
  });

  test('of a key whose tokens have all expired opens to nothing, whatever it claims', async () => {
    const { tokens, keys, clock } = bed();
    const token = await tokens.issue({ ...CLAIMS, expiresAtMs: Number.MAX_SAFE_INTEGER });
    clock.aheadMs = DAY_MS + 59 * 60 * 1000;
    assert.notEqual(await createEndpointTokens({ keys, clock, random }).open(token), undefined);
    clock.aheadMs = DAY_MS + 60 * 60 * 1000;
    assert.equal(await createEndpointTokens({ keys, clock, random }).open(token), undefined);
  });

  test('asked for by many at once takes one key', async () => {
    const { tokens, keys } = bed();
    await Promise.all(Array.from({ length: 20 }, () => tokens.issue(CLAIMS)));
    assert.equal(keys.keys.length, 1);
  });

  test('of another installation, or altered anywhere, opens to nothing and throws nothing', async () => {
    const { tokens } = bed();
    const token = await tokens.issue(CLAIMS);
    assert.equal(await tokens.open(await bed().tokens.issue(CLAIMS)), undefined);
    for (let at = 0; at < token.length; at++) {
      const altered = `${token.slice(0, at)}${token[at] === 'A' ? 'Q' : 'A'}${token.slice(at + 1)}`;
      assert.equal(await tokens.open(altered), undefined, `${at}`);
      assert.equal(await tokens.open(token.slice(0, at)), undefined);
    }
    for (const garbage of ['', '.', 'null', '\0', '💥', 'a'.repeat(1e6), 'eyJhbGciOiJub25lIn0..a.b.c', '....']) assert.equal(await tokens.open(garbage), undefined);
  });
});
