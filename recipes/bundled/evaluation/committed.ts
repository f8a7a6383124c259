/**
 * Measured figures against the committed ones: they are compared, and only written where that is asked
 * for, so that no figure changes without a word.
 */
import { FileError } from 'looplm/errors';
import { fileExists, readTextFile, writeFileAtomic } from 'looplm/node';

/** A figure that is not what was committed; undefined where one side lacks it. */
export interface Difference {
  /** Such as `streams[14].meanDepth (per-loop sampled)`. */
  readonly where: string;
  readonly committed: unknown;
  readonly measured: unknown;
}

export interface Outcome {
  /** Of the committed figures. */
  readonly path: string;
  /** The measured figures as the text of that file. */
  readonly json: string;
  /** Writes the figures instead of comparing. */
  readonly write: boolean;
}

/** Differences that are printed one by one. */
const MAX_SHOWN = 20;

/** Compares or writes; prints which, and sets exit code 1 if figures differ. */
export async function settleFigures(outcome: Outcome): Promise<void> {
  const { path, json, write } = outcome;
  if (write) {
    await writeFileAtomic(path, json);
    console.log(
      `Wrote ${path}. node dist/recipes/bundled/report.js brings texts and pictures up to date.`,
    );
    return;
  }
  if (!(await fileExists(path))) {
    console.log(`There is no ${path} to compare with; --write writes it.`);
    process.exitCode = 1;
    return;
  }
  const differences = differencesOf(await readJson(path), JSON.parse(json));
  for (const line of describeDifferences(differences, path)) console.log(line);
  if (differences.length > 0) process.exitCode = 1;
}

async function readJson(path: string): Promise<unknown> {
  const text = await readTextFile(path);
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new FileError(path, `${path} is not JSON; --write replaces it.`, { cause });
  }
}

/** What is said of the differences, a line each. */
export function describeDifferences(differences: readonly Difference[], path: string): string[] {
  if (differences.length === 0) return [`Every figure is that of ${path}.`];
  const shown = differences
    .slice(0, MAX_SHOWN)
    .map(
      ({ where, committed, measured }) =>
        `  ${where}: committed ${JSON.stringify(committed)}, measured ${JSON.stringify(measured)}`,
    );
  const more = differences.length - shown.length;
  return [
    `${differences.length} figures are not those of ${path}, which stays as it is:`,
    ...shown,
    ...(more > 0 ? [`  and ${more} more`] : []),
    'On another processor sums round differently, which moves single answers (see the model card). --write writes the measured figures.',
  ];
}

/** Every value in which two JSON values differ. */
export function differencesOf(committed: unknown, measured: unknown, where = ''): Difference[] {
  if (!isContainer(committed) || !isContainer(measured)) {
    return Object.is(committed, measured) ? [] : [{ where, committed, measured }];
  }
  const keys = new Set([...Object.keys(committed), ...Object.keys(measured)]);
  return [...keys].flatMap((key) => {
    const [a, b] = [committed[key], measured[key]];
    return differencesOf(a, b, placeOf(where, key, committed, b));
  });
}

type Container = Readonly<Record<string, unknown>>;

const isContainer = (value: unknown): value is Container =>
  typeof value === 'object' && value !== null;

/** Fields that say which item of a list it is. */
const NAMES = [
  'name',
  'gate',
  'kvPolicy',
  'policy',
  'threshold',
  'problems',
  'prefill',
  'task',
  'difficulty',
];

function placeOf(where: string, key: string, parent: Container, item: unknown): string {
  if (!Array.isArray(parent)) return where === '' ? key : `${where}.${key}`;
  const names = isContainer(item) ? NAMES.map((name) => item[name]).filter(isNamed) : [];
  return `${where}[${names.length > 0 ? names.join(' ') : key}]`;
}

const isNamed = (value: unknown) => typeof value === 'string' || typeof value === 'number';
