/** A look at a policy: what it says is what recorded runs of the same problems come to. */
import { expect, test } from 'vitest';
import { Engine, parseExitPolicy, parseSamplingOptions } from '../../src/engine/index.js';
import type { Answer, PolicyTask } from '../../src/rl/index.js';
import { evaluatePolicy } from '../../src/rl/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { requestOf, runAll } from '../engine/runs.js';
import { SMALL_MODEL, randomWeights } from '../engine/random-model.js';

test('answers, depths and loops are those of recorded runs, although nothing is recorded', async () => {
  const { config } = SMALL_MODEL;
  await using device = await createInlineDevice({ numThreads: 1 });
  await using engine = await Engine.create({ device, config, weights: randomWeights(config, 3) });
  const exitPolicy = parseExitPolicy('sampled');
  const prompts: (readonly number[])[] = [];
  const answers: Answer[] = [];
  const task: PolicyTask<{ prompt: readonly number[] }> = {
    name: 'long answers',
    maxDifficulty: 4,
    draw(rng, difficulty) {
      const prompt = Array.from({ length: difficulty }, () => 1 + (Math.abs(rng.next()) % 5));
      prompts.push(prompt);
      return { prompt };
    },
    reward(answer) {
      answers.push(answer);
      return answer.exitDepths[0]!;
    },
  };
  const figures = await evaluatePolicy({
    task,
    text: { encode: (prompt) => prompt as readonly number[], tokenizer: undefined, stopIds: [] },
    engine,
    exitPolicy,
    maxNewTokens: 5,
    problems: 8,
    seed: 2,
    rewardTimeoutMs: 1000,
  });
  const runs = await runAll(
    engine,
    prompts.map((promptIds, seed) =>
      requestOf(promptIds, exitPolicy, {
        record: true,
        maxNewTokens: 5,
        sampling: parseSamplingOptions({ seed }),
        cachePrefix: false,
      }),
    ),
  );
  const records = runs.map(({ finish }) => finish.rollout!);
  const written = ({ tokenIds, exitDepths }: Pick<Answer, 'tokenIds' | 'exitDepths'>) =>
    `${tokenIds.join()} at ${exitDepths.join()}`;
  expect(answers.map(written).toSorted()).toEqual(records.map(written).toSorted());
  const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
  const depths = records.flatMap(({ exitDepths }) => exitDepths);
  expect(figures.meanDepth).toBeCloseTo(sum(depths) / depths.length);
  const firsts = records.map(({ exitDepths }) => exitDepths[0]!);
  expect(figures.reward).toBeCloseTo(sum(firsts) / firsts.length);
  const executed = sum(runs.map(({ finish }) => finish.executedLoops));
  const all = sum(runs.map(({ finish }) => finish.fullDepthLoops));
  expect(figures.executedShare).toBeCloseTo(executed / all);
});
