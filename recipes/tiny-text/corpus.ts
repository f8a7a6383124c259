/**
 * Real text that every installation has: what npm packages ship.
 *
 * Documents are the readmes of packages, and their other Markdown; conversations are questions about a
 * package that its package.json answers.
 */
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';

export interface Corpus {
  readonly readmes: readonly string[];
  /** Changelogs and other Markdown. */
  readonly others: readonly string[];
  readonly chats: readonly { readonly prompt: string; readonly completion: string }[];
}

/** What is read of a package.json. */
interface Package {
  readonly name?: unknown;
  readonly description?: unknown;
  readonly license?: unknown;
  readonly dependencies?: Readonly<Record<string, unknown>>;
}

/** Longer files are lists more often than prose. */
const MAX_CHARACTERS = 200_000;

/** @param folder - `node_modules` */
export async function readCorpus(folder: string): Promise<Corpus> {
  const [readmes, others]: [string[], string[]] = [[], []];
  const chats: Corpus['chats'][number][] = [];
  for (const path of await packagesIn(folder)) {
    for (const file of (await readdir(path)).toSorted()) {
      if (!/\.md$/i.test(file)) continue;
      const text = await readFile(join(path, file), 'utf8');
      if (text.length > MAX_CHARACTERS || text.trim() === '') continue;
      (/^readme/i.test(file) ? readmes : others).push(text);
    }
    chats.push(...questionsAbout(await readPackage(path)));
  }
  return { readmes, others, chats };
}

/** Folders of packages, those of scopes included, in the order of their names. */
async function packagesIn(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const names = entries
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'))
    .map(({ name }) => name)
    .toSorted();
  const nested = names.map(async (name) =>
    name.startsWith('@') ? packagesIn(join(folder, name)) : [join(folder, name)],
  );
  return (await Promise.all(nested)).flat();
}

async function readPackage(path: string): Promise<Package> {
  const text = await readFile(join(path, 'package.json'), 'utf8').catch(() => '{}');
  return JSON.parse(text) as Package;
}

function questionsAbout({ name, description, license, dependencies }: Package) {
  if (typeof name !== 'string') return [];
  const needs = Object.keys(dependencies ?? {});
  const of = (prompts: readonly string[], completion: string) =>
    prompts.map((prompt) => ({ prompt, completion }));
  return [
    ...(typeof description === 'string' && description.trim() !== ''
      ? of([`What is ${name}?`, `Tell me about the package ${name}.`], description.trim())
      : []),
    ...(typeof license === 'string'
      ? of(
          [`Which licence has ${name}?`, `How is ${name} licensed?`],
          `${name} is under ${license}.`,
        )
      : []),
    ...of(
      [`What does ${name} depend on?`],
      needs.length === 0 ? `${name} depends on nothing.` : `It depends on ${needs.join(', ')}.`,
    ),
  ];
}
