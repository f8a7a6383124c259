/** How the reports of the outside tools become findings, on reports cut down to what is read. */
import { describe, expect, it } from 'vitest';
import { formatFinding } from './finding.js';
import { parseKnip, parseOxfmt, parseOxlint, runTool } from './tools.js';

describe('reports', () => {
  it('of the linter give message, rule and advice at the first label', () => {
    const first = {
      message: 'Unexpected any.',
      code: 'ts(no-any)',
      help: 'Use unknown.',
      filename: 'src/a.ts',
      labels: [{ span: { line: 7 } }],
    };
    const second = { message: 'Cycle', note: '╭─▶ ./b.js\n╰─╯', filename: 'src/b.ts', labels: [] };
    const findings = parseOxlint(JSON.stringify({ diagnostics: [first, second] }));
    expect(findings.map(formatFinding)).toEqual([
      'src/a.ts:7 Unexpected any. [ts(no-any)] / Use unknown.',
      'src/b.ts:1 Cycle ( ./b.js ) / see the rule',
    ]);
  });

  it('of the formatter give one finding a path', () => {
    expect(parseOxfmt('src/a.ts\nsrc/b.ts\n').map(({ path }) => path)).toEqual([
      'src/a.ts',
      'src/b.ts',
    ]);
  });

  it('of the dead-code finder give one finding an item', () => {
    const issues = [
      { file: 'src/a.ts', exports: [{ name: 'b', line: 2 }], files: [] },
      { file: 'src/c.ts', files: [{ name: 'src/c.ts' }], duplicates: [[{ name: 'd' }]] },
    ];
    const findings = parseKnip(JSON.stringify({ issues }));
    expect(findings.map(({ path, line, what }) => `${path}:${line} ${what}`)).toEqual([
      'src/a.ts:2 nothing imports the export b',
      'src/c.ts:1 nothing imports the file src/c.ts',
      'src/c.ts:1 exported twice: d',
    ]);
  });
});

describe('runTool', () => {
  it('throws when the tool does not do its work', () => {
    const tool = { program: 'there-is-no-such-tool.js', args: [], parse: () => [] };
    expect(() => runTool('.', tool)).toThrow(/there-is-no-such-tool\.js ended with status 1/);
  });
});
