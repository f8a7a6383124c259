/** `looplm eval`: a set is measured as each of its documents alone, in every format of weights. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { describe, expect, it } from 'vitest';
import { trainedDifficulties } from '../../recipes/bundled/curriculum.js';
import { TASKS } from '../../recipes/bundled/tasks/index.js';
import type { DepthFigures } from '../../src/eval/index.js';
import { saveCheckpoint } from '../../src/model/index.js';
import { nodeFolder } from '../../src/platform/node/index.js';
import { generatorFor } from '../../src/util/random.js';
import { SMALL_MODEL, randomWeights } from '../engine/random-model.js';
import { TINY, cli, cliJson, repositoryPath, temporaryFolder } from './support.js';

const BUNDLED = repositoryPath('models/bundled');
const folder = temporaryFolder();

interface Evaluated {
  readonly threshold: number;
  readonly groups: readonly ({ readonly name: string } & DepthFigures)[];
}

function dataFile(name: string, lines: readonly object[]): string {
  const path = join(folder, `${name}.jsonl`);
  writeFileSync(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  return path;
}

const evaluate = (...flags: string[]) => cliJson<Evaluated>(['eval', ...flags]);

async function figuresOf(name: string, lines: readonly object[], ...flags: string[]) {
  const { groups } = await evaluate('--data', dataFile(name, lines), ...flags);
  return groups[0]!;
}

const PROBLEMS = [
  {
    prompt: "The ball is under cup 3. Swap cups 2 and 3. Where is the ball? It's under cup",
    answer: ' 2',
  },
  {
    prompt:
      "Rosa's boss is Tina. Bob's boss is Mia. Cid's boss is Ann. Ann's boss is Bob. Who is Cid's boss's boss's boss? It's",
    answer: ' Mia',
  },
];

describe('a set of documents', () => {
  it('has the accuracy of its problems, however different their lengths', async () => {
    const alone = await Promise.all(
      PROBLEMS.map((problem, index) => figuresOf(`alone-${index}`, [problem])),
    );
    const together = await figuresOf('together', PROBLEMS);
    const reversed = await figuresOf('reversed', PROBLEMS.toReversed());
    for (const depth of [0, 1, 2, 3]) {
      const mean = (of: (figures: DepthFigures) => readonly number[]) =>
        (of(alone[0]!)[depth]! + of(alone[1]!)[depth]!) / 2;
      for (const figures of [together, reversed]) {
        expect(figures.accuracyByDepth[depth]).toBe(mean((one) => one.accuracyByDepth));
        expect(figures.lossByDepth[depth]).toBeCloseTo(
          mean((one) => one.lossByDepth),
          12,
        );
      }
    }
    expect(together.accuracyByDepth.at(-1)).toBe(1);
  });

  it('equals the mean over its documents alone, by labels: random ones of 1 to 300 tokens', async () => {
    const rng = generatorFor(20261128);
    const documents = [1, 2, 40, 150, 300].map((length) => {
      const ids = Array.from({ length }, () => uniformInt(rng, 0, 255));
      const targets = ids.map(() => (uniformInt(rng, 0, 1) ? uniformInt(rng, 0, 255) : -100));
      targets[length - 1] = 7;
      return { ids, targets };
    });
    const alone: DepthFigures[] = [];
    for (const [index, document] of documents.entries()) {
      alone.push(await figuresOf(`random-${index}`, [document], '--model', TINY));
    }
    const all = await figuresOf('random', documents.toReversed(), '--model', TINY);
    const labels = alone.reduce((sum, figures) => sum + figures.labels, 0);
    expect(all.labels).toBe(labels);
    const mean = (of: (figures: DepthFigures) => number) =>
      alone.reduce((sum, figures) => sum + figures.labels * of(figures), 0) / labels;
    for (const depth of [0, 1, 2, 3]) {
      expect(all.accuracyByDepth[depth]).toBeCloseTo(
        mean((one) => one.accuracyByDepth[depth]!),
        12,
      );
      expect(all.lossByDepth[depth]).toBeCloseTo(
        mean((one) => one.lossByDepth[depth]!),
        10,
      );
    }
    expect(all.exit.meanDepth).toBeCloseTo(
      mean(({ exit }) => exit.meanDepth),
      12,
    );
  });
});

describe('the questions of the bundled model', () => {
  const fullDepth = ({ groups }: Evaluated) => {
    const labels = groups.reduce((sum, group) => sum + group.labels, 0);
    const correct = groups.reduce(
      (sum, group) => sum + group.labels * group.accuracyByDepth.at(-1)!,
      0,
    );
    return correct / labels;
  };

  it.each(['f16', 'q8', 'q4'])('are measured on a model in %s, too', async (dtype) => {
    const out = join(folder, dtype);
    await cliJson(['convert', BUNDLED, '--dtype', dtype, '--out', out]);
    const evaluated = await evaluate('--model', out, '--questions', '2');
    const numDifficulties = TASKS.flatMap(trainedDifficulties).length;
    expect(evaluated.groups).toHaveLength(numDifficulties);
    expect(fullDepth(evaluated)).toBeGreaterThan(0.8);
  });

  it('are those that are trained, or longer ones', async () => {
    const { stdout } = await cli(['eval', '--questions', '2']);
    expect(stdout).toMatch(/cups 8 +2 /);
    expect(stdout).not.toContain('cups 9');
    const flags = ['--questions', '1', '--question-set', 'longer', '--num-loops', '6'];
    const longer = await evaluate(...flags);
    expect(longer.groups.map(({ name }) => name)).toContain('cups 16');
    expect(longer.groups[0]!.accuracyByDepth).toHaveLength(6);
  });
});

describe('a model without an exit gate', () => {
  const model = join(folder, 'gateless');
  const making = (async () => {
    const config = { ...SMALL_MODEL.config, architecture: 'nanbeige' } as const;
    await saveCheckpoint(nodeFolder(model), config, randomWeights(config, 5), { dtype: 'f32' });
  })();
  const data = dataFile('gateless', [{ ids: [1, 2, 3], targets: [-100, 3, 4] }]);

  it('is measured by depth, without Q-exit', async () => {
    await making;
    const { exitCode, stdout } = await cli(['eval', '--model', model, '--data', data]);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('no exit gate');
    expect(stdout).not.toContain('Q-exit');
  });

  it('has nothing for a threshold to decide', async () => {
    await making;
    const argv = ['eval', '--model', model, '--data', data, '--threshold', '0.5'];
    const { exitCode, stderr } = await cli(argv);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/^error: --threshold is 0\.5, but the model has no exit gate.*\n$/);
  });
});

describe('while it runs', () => {
  it('shows its progress', async () => {
    const { exitCode, stderr } = await cli(['eval', '--questions', '1']);
    expect(exitCode).toBe(0);
    expect(stderr).toMatch(/^evaluating: \d+ % of .* loops\n/);
    expect(stderr).toMatch(/evaluating: 100 % of .* loops\n$/);
  });

  it('stops at Ctrl-C with exit code 130 and nothing said', async () => {
    const stopped = await cli(['eval', '--questions', '200'], { interrupts: 'at progress' });
    expect(stopped.exitCode).toBe(130);
    expect(stopped.stdout).toBe('');
    expect(stopped.stderr).toMatch(/^(evaluating: \d+ % of .* loops\n)+$/);
    expect(stopped.stderr).not.toContain('100 %');
  });
});
