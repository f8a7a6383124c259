/** How somebody uses the page. */
import type { Page } from 'playwright-core';

export const prompt = (page: Page) => page.getByRole('textbox', { name: /prompt|message/i });
export const run = (page: Page) => page.getByRole('button', { name: /^(run|send)$/i });
// choices of a select are options, too
export const tokens = (page: Page) => page.locator('[role=option]');
export const status = (page: Page) => page.getByRole('status');
export const done = (page: Page) =>
  status(page)
    .filter({ hasText: /complete|stopped/i })
    .waitFor();

/** Writes a prompt and runs it. */
export async function ask(page: Page, text: string): Promise<void> {
  await prompt(page).fill(text);
  await run(page).click();
}
