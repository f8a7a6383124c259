/**
 * Draws docs/images/playground.webp, the first picture of the README: `npm run picture`.
 *
 * The bundled model solves a problem in the playground, and what each loop would have said of the
 * answer is open. Nothing in the picture depends on time: the figures of speed are out of it.
 */
import { writeFile } from 'node:fs/promises';
import { readAssets } from '../../src/platform/node/http/index.js';
import { loadModel, openServer } from '../serve/server.js';
import { repositoryPath } from '../repository.js';
import { buildPage, openBrowser, openPage, WHY_NOT } from './page.js';
import { ask, done } from './use.js';

const PICTURE = repositoryPath('docs/images/playground.webp');
/** The last one is looked into. */
const PROBLEMS = [
  "What is France's largest neighbour's capital?",
  'The ball is under cup 1. Swap cups 1 and 2. Swap cups 2 and 3. Swap cups 3 and 4. Where is the ball?',
  "Bob's boss is Mia. Cid's boss is Ann. Ann's boss is Bob. Who is Cid's boss's boss's boss?",
];
const SIZE = { width: 1280, height: 930 };

if (WHY_NOT !== undefined) throw new Error(WHY_NOT);
const { folder, remove } = await buildPage();
const model = await loadModel();
const server = await openServer(model, {
  modelName: 'looplm-bundled',
  assets: await readAssets(folder),
});
const browser = await openBrowser();
const { page } = await openPage(browser, server.url, { viewport: SIZE, deviceScaleFactor: 2 });
for (const problem of PROBLEMS) {
  await ask(page, problem);
  await done(page);
}
// the newest stands first: once in its question, then as its answer
await page
  .getByRole('option', { name: /^Mia, depth/ })
  .nth(1)
  .click();
await page.mouse.move(0, 0);
await page.evaluate(() => document.fonts.ready);
const session = await page.context().newCDPSession(page);
const { data } = await session.send('Page.captureScreenshot', { format: 'webp', quality: 90 });
await writeFile(PICTURE, Buffer.from(data, 'base64'));
process.stdout.write(`Drew ${PICTURE}.\n`);
await browser.close();
await server[Symbol.asyncDispose]();
await model.dispose();
await remove();
