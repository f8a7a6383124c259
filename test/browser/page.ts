/** Builds the playground and opens it in headless Chromium, where the machine has one. */
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { chromium } from 'playwright-core';
import { build } from 'vite';
import { repositoryPath } from '../repository.js';

const PROGRAMS = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

/** The browser of the machine: that of `CHROMIUM`, or one at a usual place. */
const CHROMIUM = [process.env['CHROMIUM'] ?? '', ...PROGRAMS].find((path) => existsSync(path));

/** Why browser tests are left out, or undefined. */
export const WHY_NOT =
  CHROMIUM === undefined
    ? `no Chromium: neither CHROMIUM nor ${PROGRAMS.join(', ')} is one`
    : undefined;

/** Nothing but what the page asks for. */
const FLAGS = [
  '--no-sandbox',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Starts the browser with a new, empty profile. */
export async function openBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM!, headless: true, args: FLAGS });
}

/** Builds the page into a folder that `remove` takes away. */
export async function buildPage(): Promise<{ folder: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'looplm-web-'));
  const root = repositoryPath('web');
  await build({ root, logLevel: 'silent', build: { outDir: folder } });
  return { folder, remove: () => rm(folder, { recursive: true }) };
}

const DESKTOP = { width: 1280, height: 800 } as const;

/** A page in a context of its own, with all that it asked for and complained of. */
export interface Opened {
  readonly page: Page;
  readonly requests: readonly string[];
  /** Errors of the console and of scripts; a breach of the content policy is one. */
  readonly complaints: readonly string[];
  close(): Promise<void>;
}

export async function openPage(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<Opened> {
  const context = await browser.newContext({ viewport: DESKTOP, ...options });
  const page = await context.newPage();
  const requests: string[] = [];
  const complaints: string[] = [];
  page.on('request', (request) => requests.push(request.url()));
  page.on('pageerror', (error) => complaints.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') complaints.push(message.text());
  });
  await page.goto(url);
  return { page, requests, complaints, close: () => context.close() };
}
