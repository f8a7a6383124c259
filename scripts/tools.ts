/**
 * The outside tools (oxlint, oxfmt, knip): how each is called and how its report becomes findings.
 *
 * Each tool's settings are in its own file at the root; nothing is configured here. A tool that
 * cannot do its work (bad settings, unreadable file) throws with what it said.
 */
import { spawnSync } from 'node:child_process';
import type { Finding } from './finding.js';

/** A tool of `node_modules` with its arguments, and how to read what it prints. */
export interface Tool {
  readonly program: string;
  readonly args: readonly string[];
  parse(output: string): Finding[];
}

export const LINT: Tool = {
  program: 'oxlint/bin/oxlint',
  args: ['--format=json'],
  parse: parseOxlint,
};
export const FORMAT: Tool = {
  program: 'oxfmt/bin/oxfmt',
  args: ['--list-different'],
  parse: parseOxfmt,
};
export const DEAD_CODE: Tool = {
  program: 'knip/bin/knip.js',
  args: ['--reporter=json'],
  parse: parseKnip,
};

/**
 * Runs a tool in `root`.
 *
 * @throws Error if the tool ends with a status other than "fine" (0) or "something found" (1).
 */
export function runTool(root: string, tool: Tool): Finding[] {
  const args = [`node_modules/${tool.program}`, ...tool.args];
  const { status, stdout, stderr, error } = spawnSync(process.execPath, args, {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });
  if (error) throw error;
  const findings = status === 0 || status === 1 ? tool.parse(stdout) : [];
  if (status === 0 || findings.length > 0) return findings;
  throw new Error(`${args.join(' ')} ended with status ${status}: ${stderr}${stdout}`);
}

interface OxlintReport {
  readonly diagnostics: readonly {
    readonly message: string;
    readonly code?: string;
    readonly help?: string;
    readonly note?: string;
    readonly filename: string;
    readonly labels: readonly { readonly span: { readonly line: number } }[];
  }[];
}

/** Findings of `oxlint --format=json`. */
export function parseOxlint(output: string): Finding[] {
  const { diagnostics } = JSON.parse(output) as OxlintReport;
  return diagnostics.map(({ message, code, help, note, filename, labels }) => ({
    path: filename,
    line: labels[0]?.span.line ?? 1,
    what: [message, note && plainNote(note), code && `[${code}]`].filter(Boolean).join(' '),
    todo: help ?? 'see the rule',
  }));
}

/** A note without the drawing around it. */
function plainNote(note: string): string {
  return `(${note.replaceAll(/[^\w\s./()-]/g, '').replaceAll(/\s+/g, ' ')})`;
}

/** Findings of `oxfmt --list-different`: one path a line. */
export function parseOxfmt(output: string): Finding[] {
  const paths = output.split('\n').filter((line) => line !== '' && !line.startsWith('Finished'));
  return paths.map((path) => ({
    path,
    line: 1,
    what: 'is not formatted',
    todo: 'npm run format',
  }));
}

interface KnipItem {
  readonly name: string;
  readonly line?: number;
}

const KNIP_KINDS: Readonly<Record<string, { what: string; todo: string }>> = {
  files: { what: 'nothing imports the file', todo: 'remove it or import it' },
  exports: { what: 'nothing imports the export', todo: 'remove it or drop `export`' },
  types: { what: 'nothing imports the type', todo: 'remove it or drop `export`' },
  dependencies: { what: 'unused dependency', todo: 'remove it from package.json' },
  devDependencies: { what: 'unused devDependency', todo: 'remove it from package.json' },
  unlisted: { what: 'dependency missing in package.json:', todo: 'add it or do without' },
  unresolved: { what: 'import leads nowhere:', todo: 'correct the path' },
  duplicates: { what: 'exported twice:', todo: 'keep one name' },
};

/** Findings of `knip --reporter=json`. */
export function parseKnip(output: string): Finding[] {
  const { issues } = JSON.parse(output) as {
    issues: readonly (Record<string, unknown> & { file: string })[];
  };
  return issues.flatMap(({ file, ...kinds }) =>
    Object.entries(kinds).flatMap(([kind, items]) => {
      const text = KNIP_KINDS[kind] ?? { what: `knip reports ${kind}:`, todo: 'see knip.dev' };
      return (items as readonly (KnipItem | readonly KnipItem[])[]).map((item) => {
        const names = [item].flat();
        const what = `${text.what} ${names.map(({ name }) => name).join(', ')}`;
        return { path: file, line: names[0]?.line ?? 1, what, todo: text.todo };
      });
    }),
  );
}
