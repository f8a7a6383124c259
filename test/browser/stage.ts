/** What tests of the page share: a browser with the built page. */
import type { Browser, BrowserContextOptions, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, test } from 'vitest';
import type { Opened } from './page.js';
import { buildPage, openBrowser, openPage, WHY_NOT } from './page.js';

/** A browser and the folder of the built page; there while tests run. */
export class Stage {
  #browser: Browser | undefined;
  #remove: (() => Promise<void>) | undefined;
  #assets = '';
  /** What was opened in this test. */
  readonly opened: Opened[] = [];

  /** The folder of the built page. */
  get assets(): string {
    return this.#assets;
  }

  async open(url: string, options: BrowserContextOptions = {}): Promise<Page> {
    const one = await openPage(this.#browser!, url, options);
    this.opened.push(one);
    return one.page;
  }

  async setUp(): Promise<void> {
    const [browser, { folder, remove }] = await Promise.all([openBrowser(), buildPage()]);
    this.#browser = browser;
    this.#assets = folder;
    this.#remove = remove;
  }

  async clear(): Promise<void> {
    await Promise.all(this.opened.splice(0).map((each) => each.close()));
  }

  async tearDown(): Promise<void> {
    await Promise.all([this.#browser?.close(), this.#remove?.()]);
  }
}

/** A stage for the tests of a file; `prepare` starts what serves the page. */
export function stageFor(prepare: (stage: Stage) => Promise<() => Promise<void>>): Stage {
  const stage = new Stage();
  let end: (() => Promise<void>) | undefined;
  beforeAll(async () => {
    if (WHY_NOT !== undefined) return;
    await stage.setUp();
    end = await prepare(stage);
  });
  afterEach(() => stage.clear());
  afterAll(async () => {
    await stage.tearDown();
    await end?.();
  });
  return stage;
}

/** A test of the page; says why where there is no browser. */
export function scene(name: string, body: () => Promise<void>): void {
  test(name, async (context) => {
    if (WHY_NOT !== undefined) context.skip(WHY_NOT);
    await body();
  });
}
