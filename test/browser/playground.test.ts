/** The playground in a real browser, against a scripted server: what somebody does and then sees. */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import type { BrowserContextOptions, Page } from 'playwright-core';
import { afterEach, describe, expect } from 'vitest';
import { WHY_NOT } from './page.js';
import { NUM_LOOPS, ScriptedServer } from './scripted-server.js';
import { scene, stageFor } from './stage.js';
import { ask, done, prompt, run, status, tokens } from './use.js';

let server: ScriptedServer;

const stage = stageFor(async ({ assets }) => {
  server = await ScriptedServer.start(assets);
  return () => server.stop();
});

afterEach(() => {
  if (WHY_NOT === undefined) server.key = '';
});

const open = (hash = '', options: BrowserContextOptions = {}): Promise<Page> =>
  stage.open(`${server.origin}/${hash}`, options);

async function answered(hash = '', text = 'say one two three', options = {}): Promise<Page> {
  const page = await open(hash, options);
  await ask(page, text);
  await done(page);
  return page;
}

const parameters = (page: Page) =>
  page.evaluate(() => Object.fromEntries(new URLSearchParams(location.hash.slice(1))));

describe('an empty page', () => {
  scene('says what it is, what a mark means, and runs an example at a click', async () => {
    const page = await open();
    expect(await page.getByRole('heading', { name: /How deep/ }).isVisible()).toBe(true);
    expect(await page.getByRole('list', { name: 'Depths' }).textContent()).toContain('4 loops');
    await page.getByRole('button', { name: 'say one two three' }).click();
    await done(page);
    expect(await prompt(page).inputValue()).toBe('say one two three');
    expect(await tokens(page).count()).toBe(4 + 4);
  });
});

describe('an answer', () => {
  scene('streams in, token by token, each with the depth it exited at', async () => {
    const page = await open('#prefill=full');
    await ask(page, 'slow');
    await tokens(page).nth(6).waitFor();
    expect(await page.getByRole('button', { name: 'Stop' }).isVisible()).toBe(true);
    const labels = await tokens(page).evaluateAll((all) =>
      all.slice(0, 5).map((each) => each.getAttribute('aria-label')),
    );
    expect(labels).toEqual([
      'alpha, depth 1 of 4',
      'beta, depth 2 of 4',
      'gamma, depth 3 of 4',
      'delta, depth 4 of 4',
      'omega, depth 1 of 4',
    ]);
  });

  scene('shows a depth by length as well as by colour', async () => {
    const page = await answered('#prefill=full');
    const marks = await tokens(page).evaluateAll((all) =>
      all.map((each) => {
        const { backgroundSize, backgroundImage } = getComputedStyle(each);
        return { height: Number.parseFloat(backgroundSize.split(' ')[1]!), backgroundImage };
      }),
    );
    expect(marks).toHaveLength(NUM_LOOPS);
    for (const [index, { height }] of marks.entries()) {
      expect(height / marks[0]!.height).toBeCloseTo(index + 1, 5);
    }
    expect(new Set(marks.map(({ backgroundImage }) => backgroundImage)).size).toBe(NUM_LOOPS);
  });

  scene('stops when told to, keeps what came, and leaves the server in peace', async () => {
    const page = await open('#prefill=full');
    const before = server.numAborted;
    await ask(page, 'slow');
    await tokens(page).nth(3).waitFor();
    await page.getByRole('button', { name: 'Stop' }).click();
    await done(page);
    expect(await status(page).textContent()).toMatch(/^Stopped/);
    expect(await tokens(page).count()).toBeGreaterThan(3);
    await expect.poll(() => server.numAborted).toBe(before + 1);
    expect(await run(page).isEnabled()).toBe(true);
  });

  scene('has its loops, their likeliest tokens and the gate behind each token', async () => {
    const page = await answered();
    await page.getByRole('option', { name: 'three, depth 3 of 4' }).last().click();
    const detail = page.getByRole('region', { name: /three/ });
    await detail.waitFor();
    const tables = detail.getByRole('table');
    expect(await tables.count()).toBe(3);
    for (const table of await tables.all()) {
      expect(await table.getByRole('row').count()).toBe(1 + 5);
    }
    const text = (await detail.textContent())!;
    expect(text).toContain('Loop 4 was not needed');
    // the gate by hand: 0.125, then 0.125 + 0.875 * 0.125, then + 0.765625 * 0.75
    for (const part of ['12.5 %', '23.4 %', '80.9 %']) expect(text).toContain(part);
    await page.getByRole('button', { name: 'Close' }).click();
    await detail.waitFor({ state: 'detached' });
  });

  scene('shows the depths of its prompt, and not where that is not wanted', async () => {
    const page = await answered();
    const names = await tokens(page).evaluateAll((all) =>
      all.map((each) => each.getAttribute('aria-label')),
    );
    expect(names.slice(0, 3)).toEqual(['say, no depth', 'one, depth 2 of 4', 'two, depth 3 of 4']);
    await page.getByLabel('Prefill').selectOption('full');
    await run(page).click();
    await expect.poll(() => server.bodies.at(-1)?.echo).toBe(false);
  });

  scene('is announced once at its end, and not read token by token', async () => {
    const page = await open();
    await ask(page, 'slow');
    await tokens(page).nth(5).waitFor();
    expect(await status(page).textContent()).toBe('The model is writing.');
    await page.getByRole('button', { name: 'Stop' }).click();
    await done(page);
    expect(await status(page).textContent()).toMatch(/mean depth \d\.\d\d of 4/);
  });
});

describe('settings', () => {
  scene('go into the request, and into the address that is shared', async () => {
    const page = await open();
    await page.getByLabel('Threshold q').fill('0.3');
    await page.getByLabel('Min depth').fill('2');
    await page.getByLabel('Temperature').fill('0.5');
    await page.getByLabel('Cache').selectOption('shared');
    await ask(page, 'say it');
    await done(page);
    expect(server.bodies.at(-1)).toMatchObject({
      exit_policy: 'cdf:0.3',
      min_depth: 2,
      max_depth: 4,
      kv_policy: 'shared',
      temperature: 0.5,
    });
    const shared = { policy: 'cdf:0.3', min: '2', temperature: '0.5', kv: 'shared' };
    await expect.poll(() => parameters(page)).toEqual({ ...shared, prompt: 'say it' });
    const other = await open(new URL(page.url()).hash);
    expect(await other.getByLabel('Min depth').inputValue()).toBe('2');
    expect(await prompt(other).inputValue()).toBe('say it');
  });

  scene('leave nothing behind but the address', async () => {
    const page = await answered('#theme=dark');
    const kept = await page.evaluate(async () => [
      localStorage.length,
      sessionStorage.length,
      document.cookie,
      (await indexedDB.databases()).length,
    ]);
    expect(kept).toEqual([0, 0, '', 0]);
  });

  scene('offer every exit policy, also one that is written out', async () => {
    const page = await open();
    const policy = page.getByLabel('Exit policy');
    for (const [name, spec] of [
      ['full', 'full'],
      ['fixed', 'fixed:2'],
      ['delta', 'delta:0.1'],
    ] as const) {
      await policy.selectOption(name);
      await ask(page, 'say it');
      await expect.poll(() => server.bodies.at(-1)?.exit_policy).toBe(spec);
      await done(page);
    }
    await policy.selectOption('written');
    const written = page.getByRole('textbox', { name: 'Policy' });
    await written.fill('any(cdf:0.5,fixed:3)');
    await written.blur();
    await ask(page, 'say it');
    await expect.poll(() => server.bodies.at(-1)?.exit_policy).toBe('any(cdf:0.5,fixed:3)');
  });
});

describe('a comparison', () => {
  scene('runs the prompt at two settings and says what differs', async () => {
    const page = await answered('#compare=1&prefill=full');
    const [first, second] = server.bodies.slice(-2);
    expect(new Set([first?.exit_policy, second?.exit_policy])).toEqual(
      new Set(['cdf:0.5', 'full']),
    );
    expect(await page.getByRole('region', { name: /^Side [AB]$/ }).count()).toBe(2);
    const text = await page.locator('.comparison').textContent();
    // four tokens at depths 1 to 4 against four at 4, and 20 loops of the prompt each
    expect(text).toContain('A ran 6 loops fewer');
    expect(text).toContain('30 of 36 loops');
    expect(text).toContain('The texts are the same.');
  });
});

describe('a chat', () => {
  scene('folds the reasoning, and sends the conversation', async () => {
    const page = await answered('#mode=chat', 'say one two');
    const reasoning = page.getByText('Reasoning', { exact: false }).first();
    expect(await page.getByRole('option', { name: /^let/ }).isVisible()).toBe(false);
    await reasoning.click();
    expect(await page.getByRole('option', { name: /^let/ }).isVisible()).toBe(true);
    await prompt(page).fill('say more');
    await prompt(page).press('Enter');
    await expect
      .poll(() => server.bodies.at(-1)?.messages)
      .toEqual([
        { role: 'user', content: 'say one two' },
        { role: 'assistant', content: ' one two' },
        { role: 'user', content: 'say more' },
      ]);
    expect(await prompt(page).inputValue()).toBe('');
  });
});

describe('what goes wrong', () => {
  const alert = (page: Page) => page.getByRole('alert');

  scene('a key is asked for only by a server that demands one', async () => {
    server.key = 'secret';
    const page = await open();
    const field = page.getByLabel('API key');
    await field.fill('wrong');
    await page.getByRole('button', { name: 'Continue' }).click();
    await alert(page).filter({ hasText: 'does not accept this key' }).waitFor();
    await field.fill('secret');
    await page.getByRole('button', { name: 'Continue' }).click();
    await ask(page, 'say it');
    await done(page);
    expect(page.url()).not.toContain('secret');
    const unasked = await ((server.key = ''), open());
    await prompt(unasked).waitFor();
    expect(await unasked.getByLabel('API key').count()).toBe(0);
  });

  const cases: readonly (readonly [string, RegExp, RegExp])[] = [
    ['say busy', /too much to do.*queue is full/is, /again in 2 seconds/i],
    ['say refused', /refused the setting exit_policy.*must be in/is, /change it/i],
    ['say it gives up', /gave up.*Out of memory/is, /try again/i],
    ['say it cut off', /connection ended before/i, /kept above/i],
  ];
  for (const [text, what, todo] of cases) {
    scene(`"${text}" is told in words, with what to do`, async () => {
      const page = await open();
      await ask(page, text);
      await alert(page).waitFor();
      expect(await alert(page).textContent()).toMatch(what);
      expect(await alert(page).textContent()).toMatch(todo);
      expect(await run(page).isEnabled()).toBe(true);
    });
  }

  scene('a server that is gone is told, and asked again when it is back', async () => {
    const own = await ScriptedServer.start(stage.assets);
    const page = await stage.open(own.origin);
    const port = Number(new URL(own.origin).port);
    await prompt(page).fill('say one');
    await own.stop();
    await run(page).click();
    await alert(page).filter({ hasText: 'does not answer' }).waitFor();
    const again = await ScriptedServer.start(stage.assets, port);
    await page.getByRole('button', { name: 'Try again' }).click();
    await done(page);
    await again.stop();
  });
});

describe('everybody', () => {
  scene('can do all of it by keyboard alone', async () => {
    const page = await open('#prefill=full');
    const press = (key: string) => page.keyboard.press(key);
    await prompt(page).waitFor(); // it comes once the server has said what it serves
    await press('Tab');
    await press('Enter'); // skip to the prompt
    await page.keyboard.type('say one two three');
    await press('Control+Enter');
    await done(page);
    await tabTo(page, 'option');
    await press('ArrowRight');
    await press('Enter');
    const detail = page.getByRole('region', { name: /two/ });
    await detail.waitFor();
    expect(await detail.evaluate((element) => element === document.activeElement)).toBe(true);
    await press('Escape');
    await detail.waitFor({ state: 'detached' });
    expect(await focusedRole(page)).toBe('option');
    await press('Enter');
    await detail.waitFor();
    await press('Shift+Tab');
    await press('Escape');
    await detail.waitFor({ state: 'detached' });
  });

  scene('reads it on a phone without scrolling sideways', async () => {
    for (const [hash, text] of [
      ['', ''],
      ['', `say ${'averylongword'.repeat(12)} one two three`],
      ['#compare=1', 'say one two three'],
      ['#mode=chat', 'say one two three'],
    ] as const) {
      const page = await open(hash, { viewport: { width: 360, height: 740 } });
      await page.getByRole('button', { name: /Settings/ }).click();
      if (text !== '') {
        await ask(page, text);
        await done(page);
        await tokens(page).last().click();
        await page.getByRole('region', { name: /Token/ }).waitFor();
      }
      const wide = await page.evaluate(() => document.documentElement.scrollWidth);
      expect(wide, `${hash} ${text}`).toBeLessThanOrEqual(360);
    }
  });

  scene('sees the token that is open on a phone, above its detail', async () => {
    const page = await answered('', `say ${'one two three '.repeat(12)}`, {
      viewport: { width: 360, height: 740 },
    });
    for (const token of [tokens(page).last(), tokens(page).first()]) {
      await token.click();
      const [mark, detail] = await Promise.all([
        token.boundingBox(),
        page.getByRole('region', { name: /Token/ }).boundingBox(),
      ]);
      expect(mark!.y).toBeGreaterThanOrEqual(0);
      expect(mark!.y + mark!.height).toBeLessThanOrEqual(detail!.y);
      await page.getByRole('button', { name: 'Close' }).click();
    }
  });

  scene('has it dark or light, as the system says or the switch', async () => {
    const ground = (page: Page) =>
      page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const page = await open('', { colorScheme: 'dark' });
    const dark = await ground(page);
    await page.getByRole('radio', { name: 'Light' }).check({ force: true });
    const light = await ground(page);
    expect(light).not.toBe(dark);
    await page.emulateMedia({ colorScheme: 'light' });
    await page.getByRole('radio', { name: 'Theme of the system' }).check({ force: true });
    expect(await ground(page)).toBe(light);
  });

  scene('sees nothing move who asked for that', async () => {
    const page = await open('', { reducedMotion: 'reduce' });
    await ask(page, 'slow');
    await tokens(page).nth(3).waitFor();
    expect(await page.evaluate(() => document.getAnimations().length)).toBe(0);
  });

  scene('asks nobody but the server, within a strict content policy', async () => {
    const page = await answered('#compare=1');
    await tokens(page).last().click();
    const [{ requests, complaints } = { requests: [], complaints: [] }] = stage.opened;
    expect(requests.length).toBeGreaterThan(4);
    expect(requests.filter((url) => !url.startsWith(server.origin))).toEqual([]);
    expect(complaints).toEqual([]);
  });

  for (const colorScheme of ['light', 'dark'] as const) {
    scene(`finds labels, roles and contrast as they should be, ${colorScheme}`, async () => {
      const empty = await open('', { colorScheme });
      const page = await answered('#compare=1&temperature=0.5', 'say one two', { colorScheme });
      await tokens(page).last().click();
      const chat = await answered('#mode=chat', 'say one two', { colorScheme });
      for (const each of [empty, page, chat]) expect(await faultsOf(each)).toEqual([]);
    });
  }
});

/** Presses the tab key until something with a role has the focus. */
async function tabTo(page: Page, role: string): Promise<void> {
  for (let count = 0; count < 60; count += 1) {
    await page.keyboard.press('Tab');
    if ((await focusedRole(page)) === role) return;
  }
  throw new Error(`the tab key never reached a ${role}`);
}

const focusedRole = (page: Page) =>
  page.evaluate(() => document.activeElement?.getAttribute('role'));

/** What axe finds wrong, one line each. */
async function faultsOf(page: Page): Promise<string[]> {
  const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
  await page.evaluate(axe);
  return page.evaluate(async () => {
    const { axe: tool } = globalThis as unknown as {
      axe: { run(): Promise<{ violations: { id: string; nodes: { html: string }[] }[] }> };
    };
    const { violations } = await tool.run();
    return violations.flatMap(({ id, nodes }) => nodes.map(({ html }) => `${id}: ${html}`));
  });
}
