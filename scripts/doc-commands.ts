/**
 * Commands and links in the documentation: what a reader can type or follow has to exist.
 *
 * `npm run X` must be a script of package.json, `looplm X` a file of `src/cli/commands/`, a relative
 * link a file or folder. The scripts of package.json are held to the same, and README must show the
 * very command that `.ci/run` runs. Dated records (changelog, decisions, log) keep old commands.
 */
import { posix } from 'node:path';
import { type Finding, lineAt } from './finding.js';
import { foldersOf, isTest, type Tree } from './tree.js';

const COMMANDS_FOLDER = 'src/cli/commands/';
const DATED = /^(CHANGELOG\.md|docs\/log\.md|docs\/decisions\/|experiments\/)/;
const FENCE = /^```(\w*)[^\n]*\n([\s\S]*?)^```/gm;
const NPM = /\bnpm (?:run ([\w:-]+)|(test|start)\b)/g;
const LOOPLM = /(?:^|[\s;&|$(])(?:looplm|node dist\/bin\/looplm\.js) ([a-z][\w-]*)/gm;
const LINK = /\]\(([^()\s]+)\)|\b(?:src|href)="([^"]+)"/g;

/** Spaces in place of everything but line ends, so that offsets and lines stay the same. */
function blank(text: string): string {
  return text.replaceAll(/[^\n]/g, ' ');
}

/** `text` with its fenced blocks blanked. */
function proseOf(text: string): string {
  return text.replaceAll(FENCE, blank);
}

/** `text` with everything blanked but inline code and fenced blocks that are not programs. */
function codeOf(text: string): string {
  let code = blank(text);
  const keep = (start: number, part: string) => {
    code = code.slice(0, start) + part + code.slice(start + part.length);
  };
  for (const match of text.matchAll(FENCE)) {
    const [whole, language = '', body = ''] = match;
    const isProgram = /^(ts|js|typescript|javascript|json)$/.test(language);
    if (!isProgram) keep(match.index + whole.indexOf('\n') + 1, body);
  }
  for (const match of proseOf(text).matchAll(/`([^`\n]+)`/g)) keep(match.index + 1, match[1] ?? '');
  return code;
}

/** The names of the command line's commands: one file each. */
export function cliCommands(tree: Tree): string[] {
  return tree.files
    .filter((file) => file.startsWith(COMMANDS_FOLDER) && file.endsWith('.ts') && !isTest(file))
    .map((file) => posix.basename(file, '.ts'))
    .filter((name) => name !== 'index');
}

function scriptsOf(tree: Tree): Readonly<Record<string, string>> {
  const manifest = JSON.parse(tree.read('package.json')) as { scripts?: Record<string, string> };
  return manifest.scripts ?? {};
}

/** Commands named in `text` that package.json or the command line does not have. */
function unknownCommands(tree: Tree, path: string, text: string): Finding[] {
  const scripts = scriptsOf(tree);
  const commands = cliCommands(tree);
  const findings: Finding[] = [];
  for (const match of text.matchAll(NPM)) {
    const name = match[1] ?? match[2] ?? '';
    if (Object.hasOwn(scripts, name)) continue;
    const what = `names the script "${name}", which package.json lacks`;
    const todo = `use one of ${Object.keys(scripts).join(', ')}`;
    findings.push({ path, line: lineAt(text, match.index), what, todo });
  }
  for (const match of text.matchAll(LOOPLM)) {
    const name = match[1] ?? '';
    if (commands.includes(name)) continue;
    const what = `names the command "looplm ${name}", which does not exist`;
    const todo = `add ${COMMANDS_FOLDER}${name}.ts, or use one of: ${commands.join(', ')}`;
    findings.push({ path, line: lineAt(text, match.index + 1), what, todo });
  }
  return findings;
}

/** Scripts of package.json that name a missing command or a program without a source. */
function brokenScripts(tree: Tree): Finding[] {
  const path = 'package.json';
  const manifest = tree.read(path);
  return Object.entries(scriptsOf(tree)).flatMap(([name, script]) => {
    // the program is made of the sources of the command line
    const programs = [...script.matchAll(/\bnode dist\/(?!bin\/)([\w./-]+)\.js/g)];
    const missing = programs.filter(([, program]) => !tree.files.includes(`${program}.ts`));
    const line = lineAt(manifest, manifest.indexOf(`"${name}": `));
    return [
      ...missing.map(([, program]) => ({
        path,
        line,
        what: `the script "${name}" runs ${program}.ts, which does not exist`,
        todo: 'add the file or remove the script',
      })),
      ...unknownCommands(tree, path, script).map((finding) => ({ ...finding, line })),
    ];
  });
}

/** Relative links of a page that lead nowhere. */
function brokenLinks(tree: Tree, places: ReadonlySet<string>, path: string): Finding[] {
  const prose = proseOf(tree.read(path));
  return [...prose.matchAll(LINK)].flatMap((match) => {
    const link = match[1] ?? match[2] ?? '';
    const [file = ''] = link.split('#');
    if (file === '' || /^[a-z]+:/.test(file)) return [];
    const target = posix.join(posix.dirname(path), decodeURI(file)).replace(/\/$/, '');
    if (places.has(target)) return [];
    const todo = 'correct the path or add the file';
    return [{ path, line: lineAt(prose, match.index), what: `links to missing ${file}`, todo }];
  });
}

/** README must show the command of `.ci/run`, so that what is tested is what a reader types. */
function testCommandShown(tree: Tree): Finding[] {
  if (!tree.files.includes('.ci/run') || !tree.files.includes('README.md')) return [];
  const command = /^command='([^']+)'$/m.exec(tree.read('.ci/run'))?.[1] ?? '';
  if (command !== '' && codeOf(tree.read('README.md')).includes(command)) return [];
  const what = `shows no code with the test command "${command}" of .ci/run`;
  return [{ path: 'README.md', line: 1, what, todo: 'show it, or change .ci/run' }];
}

/** Commands and relative links in Markdown and package.json that do not exist. */
export function checkDocCommands(tree: Tree): Finding[] {
  const places = new Set(['.', ...tree.files, ...foldersOf(tree)]);
  const pages = tree.files.filter(
    (file) => file.endsWith('.md') && !file.startsWith('test/fixtures/'),
  );
  const living = pages.filter((page) => !DATED.test(page));
  return [
    ...living.flatMap((page) => unknownCommands(tree, page, codeOf(tree.read(page)))),
    ...pages.flatMap((page) => brokenLinks(tree, places, page)),
    ...brokenScripts(tree),
    ...testCommandShown(tree),
  ];
}
