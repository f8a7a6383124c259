/**
 * Some hundred of the bad requests that `npm run attack:http` sends by the thousand: each gets a right
 * answer or a refusal in shape, and good ones in between are answered as ever.
 */
import { expect, test } from 'vitest';
import { openServer, loadModel } from '../serve/server.js';
import { HTTP_BASES, requestOf } from './http-attacks.js';
import { playHttpAttacks } from './http-play.js';

const SEED = 2026;
const NUM_ATTACKS = 300;

test('before they are spoilt, all requests are answered', async () => {
  await using model = await loadModel();
  await using server = await openServer(model);
  for (const base of HTTP_BASES.filter(({ path }) => path !== '/')) {
    const { method, path, body, headers } = requestOf(base);
    const response = await fetch(`${server.url}${path}`, {
      method,
      headers: headers.filter(([name]) => name !== 'Host').map(([name, value]) => [name, value]),
      ...(method === 'POST' && { body: body.toString() }),
    });
    expect([path, response.status, await response.text()]).toEqual([path, 200, expect.any(String)]);
  }
});

test(`${NUM_ATTACKS} bad requests are answered as they should be`, async () => {
  const indices = Array.from({ length: NUM_ATTACKS }, (_, index) => index);
  const { verdicts, faults } = await playHttpAttacks({ seed: SEED, indices });
  const bad = verdicts.filter((verdict) => verdict.faults.length > 0);
  expect([...faults, ...bad]).toEqual([]);
  expect(verdicts).toHaveLength(NUM_ATTACKS);
  const refused = verdicts.filter(({ status }) => status >= 400);
  expect(refused.length).toBeGreaterThan(NUM_ATTACKS / 4);
  expect(refused.length).toBeLessThan(NUM_ATTACKS);
});
