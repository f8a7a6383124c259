/** The playground against the server that it is made for, with the bundled model. */
import { describe, expect } from 'vitest';
import type { Model, TestServer } from '../serve/server.js';
import { loadModel, openServer } from '../serve/server.js';
import { readAssets } from '../../src/platform/node/http/index.js';
import { scene, stageFor } from './stage.js';
import { ask, done, prompt, tokens } from './use.js';

let model: Model;
let server: TestServer;
let guarded: TestServer;

const stage = stageFor(async ({ assets: folder }) => {
  const assets = await readAssets(folder);
  model = await loadModel();
  server = await openServer(model, {
    assets,
    examples: ["Cid's boss is Ann. Ann's boss is Dan. Who is Cid's boss's boss?"],
  });
  guarded = await openServer(model, { assets, apiKeys: ['secret'] });
  return async () => {
    await server[Symbol.asyncDispose]();
    await guarded[Symbol.asyncDispose]();
    await model.dispose();
  };
});

const open = (hash = '') => stage.open(`${server.url}/${hash}`);

describe('the bundled model', () => {
  scene('answers an example at a click, within the content policy of the server', async () => {
    const page = await open();
    await page.getByRole('button', { name: /^Cid's boss is Ann\. / }).click();
    await done(page);
    const answer = page.getByRole('option', { name: /^Dan, depth [1-4] of 4$/ }).last();
    await answer.click();
    const detail = page.getByRole('region', { name: /Token/ });
    expect(await detail.getByRole('table').count()).toBeGreaterThan(0);
    expect(await detail.getByRole('row', { name: /Dan \(taken\)/ }).count()).toBeGreaterThan(0);
    const [{ requests, complaints }] = stage.opened as [(typeof stage.opened)[0]];
    expect(complaints).toEqual([]);
    expect(requests.filter((url) => !url.startsWith(server.url))).toEqual([]);
  });

  scene('has a depth for every token but the first of its prompt', async () => {
    const page = await open();
    await ask(
      page,
      'The ball is under cup 3. Swap cups 2 and 3. Swap cups 1 and 5. Where is the ball?',
    );
    await done(page);
    const labels = await tokens(page).evaluateAll((all) =>
      all.map((each) => each.getAttribute('aria-label')),
    );
    expect(labels.join(' / ')).toMatch(
      /^The, no depth \/ ball, depth \d of 4 \/ .* \/ 2, depth \d of 4 \/ \., depth \d of 4 \/ <\|endoftext\|>, depth \d of 4$/,
    );
  });

  scene('runs as many loops in a comparison as each side runs alone', async () => {
    const text =
      'The ball is under cup 1. Swap cups 1 and 2. Swap cups 2 and 3. Swap cups 3 and 4. Swap cups 4 and 5. Where is the ball?';
    const page = await open('#compare=1&tokens=8');
    await ask(page, text);
    await done(page);
    const loops = async (policy: string) => {
      const { usage } = await server.json<{ usage: Record<string, number> }>('/v1/completions', {
        model: 'bundled',
        prompt: text,
        max_tokens: 8,
        temperature: 0,
        exit_policy: policy,
        prefill: 'deferred',
        cache_salt: `alone ${policy}`,
      });
      return [usage['loops_run']!, usage['loops_run']! + usage['loops_saved']!];
    };
    const { exit_policy: own } = (
      await server.json<{ data: { exit_policy: string }[] }>('/v1/models')
    ).data[0]!;
    const shown = (await page.locator('.loops-bar span').allTextContents()).map((bar) =>
      (bar.match(/\d+/g) ?? []).map(Number),
    );
    expect(shown).toEqual([await loops(own), await loops('full')]);
    expect(shown[0]![0]).toBeLessThan(shown[1]![0]!);
  });

  scene('takes every policy that the page offers', async () => {
    const page = await open('#tokens=2');
    const policies = page.getByLabel('Exit policy');
    for (const word of ['cdf', 'full', 'fixed', 'confidence', 'delta', 'kl', 'sampled']) {
      await policies.selectOption(word);
      for (const kv of ['per-loop', 'last-exited', 'shared']) {
        await page.getByLabel('Cache').selectOption(kv);
        await ask(page, 'The ball is under cup 3. Swap cups 2 and 3. Where is the ball?');
        await done(page);
        expect(await page.getByRole('alert').count(), `${word} ${kv}`).toBe(0);
      }
    }
  });

  scene('takes every way to treat a prompt that the page offers', async () => {
    const page = await open('#tokens=2');
    for (const kv of ['per-loop', 'last-exited', 'shared']) {
      await page.getByLabel('Cache').selectOption(kv);
      const prefills = page.getByLabel('Prefill');
      const values = await prefills
        .locator('option')
        .evaluateAll((all) => all.map((each) => (each as HTMLOptionElement).value));
      for (const value of values) {
        await prefills.selectOption(value);
        await ask(page, 'The ball is under cup 3. Swap cups 2 and 3. Where is the ball?');
        await done(page);
        expect(await page.getByRole('alert').count(), `${kv} ${value}`).toBe(0);
      }
    }
  });

  scene('chats', async () => {
    const page = await open('#mode=chat');
    await prompt(page).fill('Start with 2. Multiply by 4. What is the result?');
    await prompt(page).press('Enter');
    await done(page);
    await page.getByRole('option', { name: /^8, depth \d of 4$/ }).waitFor();
  });
});

describe('what the server refuses', () => {
  scene('is told in its words', async () => {
    const page = await open('#policy=cdf:7');
    await ask(page, 'The ball is under cup 3. Where is the ball?');
    const alert = page.getByRole('alert');
    await alert.waitFor();
    expect(await alert.textContent()).toMatch(/exit_policy.*cdf.*7/);
  });

  scene('is a wrong key, and nothing else once it is right', async () => {
    const page = await stage.open(guarded.url);
    await page.getByLabel('API key').fill('secret');
    await page.getByRole('button', { name: 'Continue' }).click();
    await ask(page, 'Start with 2. Multiply by 4. What is the result?');
    await done(page);
  });
});
