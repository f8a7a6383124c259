/**
 * The map in docs/map.md: one line per place, "- `path` phrase", equal to the tree.
 *
 * The map must name every top-level folder, every folder of `src/` and every first-level file of
 * `src/`. It may name more, as long as it exists. Hidden folders are tooling and stay out.
 */
import type { Finding } from './finding.js';
import { foldersOf, isTest, type Tree } from './tree.js';

const MAP = 'docs/map.md';
const HEADING = '# Map';
const ENTRY = /^\s*- `([^`]+)`(.*)$/;

export interface MapEntry {
  readonly path: string;
  readonly phrase: string;
  readonly line: number;
}

/** The entries of the section "# Map"; undefined when the text has no such section. */
export function mapEntries(text: string): MapEntry[] | undefined {
  const lines = text.split('\n');
  const start = lines.findIndex((line) => line.trim() === HEADING);
  if (start === -1) return undefined;
  const next = lines.findIndex((line, index) => index > start && /^##? /.test(line));
  const end = next === -1 ? lines.length : next;
  return lines.slice(start, end).flatMap((line, index) => {
    const [, path, phrase] = ENTRY.exec(line) ?? [];
    if (path === undefined || phrase === undefined) return [];
    return [{ path: path.replace(/\/$/, ''), phrase: phrase.trim(), line: start + index + 1 }];
  });
}

/** The places the map has to name. */
export function expectedPlaces(tree: Tree): string[] {
  const folders = [...foldersOf(tree)].filter(
    (folder) => !folder.startsWith('.') && (!folder.includes('/') || folder.startsWith('src/')),
  );
  const files = tree.files.filter((file) => /^src\/[^/]+$/.test(file) && !isTest(file));
  return [...folders, ...files].toSorted();
}

/** Places that the map lacks, names twice, leaves without a phrase, or that do not exist. */
export function checkMap(tree: Tree): Finding[] {
  const entries = tree.files.includes(MAP) ? mapEntries(tree.read(MAP)) : undefined;
  const places = expectedPlaces(tree);
  if (entries === undefined) {
    const todo = `write the section "${HEADING}" with lines "- \`path\` phrase" for: ${places.join(', ')}`;
    return [{ path: MAP, line: 1, what: `has no section "${HEADING}"`, todo }];
  }
  const existing = new Set([...tree.files, ...foldersOf(tree)]);
  const seen = new Set<string>();
  const findings: Finding[] = [];
  for (const { path, phrase, line } of entries) {
    const problem = (what: string, todo: string) =>
      findings.push({ path: MAP, line, what: `the map ${what}`, todo });
    if (!existing.has(path)) problem(`names ${path}, which does not exist`, 'remove the line');
    if (seen.has(path)) problem(`names ${path} twice`, 'remove one line');
    if (phrase === '') problem(`says nothing about ${path}`, 'add a phrase after the path');
    seen.add(path);
  }
  const line = entries[0]?.line ?? 1;
  for (const place of places.filter((each) => !seen.has(each))) {
    const todo = `add a line "- \`${place}\` phrase"`;
    findings.push({ path: MAP, line, what: `the map lacks ${place}`, todo });
  }
  return findings;
}
