import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ConversionReport } from '../../src/platform/node/index.js';
import { TINY, cli, cliJson, temporaryFolder } from './support.js';

const temporary = temporaryFolder();
const to = (name: string) => join(temporary, name);
/** A shape with room for a tokenizer, large enough to be interrupted. */
const SHAPE = to('shape.json');
const json = JSON.parse(readFileSync(join(TINY, 'config.json'), 'utf8')) as object;
writeFileSync(SHAPE, JSON.stringify({ ...json, vocab_size: 20_000, hidden_size: 256 }));

describe('looplm convert', () => {
  it('ends in a table of sizes and errors by part, with the worst tensor by name', async () => {
    const { exitCode, stdout, stderr } = await cli([
      'convert',
      TINY,
      '--dtype',
      'q4',
      '--out',
      to('q4'),
    ]);
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(/^converted {2}\d+ kB to \d+ kB, scale-search without calibration/);
    expect(stdout).toMatch(/part +format +size +mean error +worst error +of/);
    expect(stdout).toMatch(
      /MLP +4-bit blocks of 64 +[\d.]+ kB +\d\.\d+ % +\d\.\d+ % +model\.layers\.\d\.mlp/,
    );
    expect(stdout).toMatch(/head +8-bit blocks of 128/);
    expect(stderr).toMatch(/^(converting: \d+ % of [\d.]+ kB\n)+$/);
  });

  it('shows a bar at a terminal', async () => {
    const argv = ['convert', TINY, '--dtype', 'q8', '--out', to('bar')];
    const { stderr } = await cli(argv, { isTerminal: true });
    expect(stderr).not.toContain('error');
  });

  it('prints its report with --json, the one in conversion.json', async () => {
    const out = to('json');
    const argv = [
      'convert',
      TINY,
      '--dtype',
      'q8',
      '--head',
      'q8',
      '--block-size',
      '32',
      '--out',
      out,
    ];
    const report = await cliJson<ConversionReport>(argv);
    expect(report).toEqual(JSON.parse(readFileSync(join(out, 'conversion.json'), 'utf8')));
    expect(report.settings.body).toEqual({ kind: 'blocks', bits: 8, blockSize: 32 });
    expect(report.tensors.map(({ name }) => name)).toContain('lm_head.weight');
  });

  it.each<[string[], RegExp]>([
    [['--dtype', 'q3'], /q3.*Allowed choices are q4, q8, f16, f32/],
    [[], /--dtype/],
    [['--dtype', 'q4', '--block-size', '7'], /Allowed choices are 32, 64, 128/],
    [['--dtype', 'f16', '--block-size', '32'], /f16 has no blocks/],
    [['--dtype', 'q4', '--calibration', to('none')], /none.*does not exist/],
  ])('with %j is the mistake of the user', async (flags, message) => {
    const { exitCode, stderr } = await cli(['convert', TINY, '--out', to('no'), ...flags]);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(message);
    expect(existsSync(to('no'))).toBe(false);
  });
});

describe('looplm random', () => {
  it('makes a model that inspect, convert and generate read, as a released one', async () => {
    const folder = to('random');
    const made = await cliJson<{ sizeBytes: number; hasTokenizer: boolean }>([
      'random',
      folder,
      '--shape',
      SHAPE,
      '--seed',
      '5',
    ]);
    expect(made.hasTokenizer).toBe(true);
    expect(readdirSync(folder).toSorted()).toEqual([
      'config.json',
      'model.safetensors',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    const inspected = await cli(['inspect', '--model', folder]);
    expect(inspected.stdout).toContain('tokenizer of 20000 entries, chat template there');
    const converted = await cliJson<ConversionReport>([
      'convert',
      folder,
      '--dtype',
      'q4',
      '--out',
      to('random-q4'),
    ]);
    expect(readdirSync(to('random-q4'))).toContain('tokenizer.json');
    expect(converted.relativeError).toBeGreaterThan(0.001);
    const argv = ['generate', '--model', folder, '--prompt', 'Hello', '--max-new-tokens', '3'];
    expect((await cli(argv)).exitCode).toBe(0);
  });

  it('goes without a tokenizer where the vocabulary is too small, and says so', async () => {
    const config = join(TINY, 'config.json');
    const { stdout } = await cli(['random', to('bytes'), '--shape', config]);
    expect(stdout).toMatch(/without a tokenizer \(its vocabulary of 256/);
    expect(readdirSync(to('bytes')).toSorted()).toEqual(['config.json', 'model.safetensors']);
  });

  it('knows shapes by name or file only, and is stopped by Ctrl-C', async () => {
    const unknown = await cli(['random', to('x'), '--shape', 'ouro-9b']);
    expect(unknown).toMatchObject({ exitCode: 2, stderr: expect.stringContaining('ouro-9b') });
    const argv = ['random', to('stopped'), '--shape', SHAPE];
    expect((await cli(argv, { interrupts: 'at progress' })).exitCode).toBe(130);
    expect(existsSync(to('stopped'))).toBe(false);
  });
});

describe('Ctrl-C', () => {
  it('keeps what is converted, and the same command goes on', async () => {
    const source = to('source');
    await cli(['random', source, '--shape', SHAPE]);
    const argv = ['convert', source, '--dtype', 'q8', '--out', to('resumed')];
    const { exitCode, stderr } = await cli(argv, { interrupts: 'at progress' });
    expect(exitCode).toBe(130);
    expect(stderr).toMatch(
      /Stopped\. What is done is kept; the same command goes on from there\.\n$/,
    );
    expect((await cli(argv)).exitCode).toBe(0);
  });
});
