/**
 * Nanbeige's block and boundary against golden numbers of an independent implementation
 * (test/fixtures/tiny-nanbeige): states and logits of every loop, generation at every depth, the loss.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TrainingDocument } from '../../src/data/index.js';
import { packDocuments } from '../../src/data/index.js';
import type { Trace } from '../../src/engine/index.js';
import { Engine, fixedDepth } from '../../src/engine/index.js';
import type { LoopLMConfig } from '../../src/model/index.js';
import { elementCount, parameterSpecs } from '../../src/model/index.js';
import type { Device } from '../../src/runtime/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import { requestOf, runAll } from '../engine/runs.js';
import { objectiveRunner } from '../train/support.js';
import type { OpenFixture } from './fixtures.js';
import { TOLERANCE, expectClose, openFixture } from './fixtures.js';

interface Golden {
  readonly parameters: number;
  readonly ids: readonly (readonly number[])[];
  readonly prompt: readonly number[];
  readonly train: {
    readonly ids: readonly (readonly number[])[];
    readonly targets: readonly (readonly number[])[];
  };
  readonly variants: Readonly<Record<string, Variant>>;
}

interface Variant {
  readonly skip_loop_final_norm: boolean;
  readonly runs: readonly {
    readonly depth: number;
    readonly tokens: readonly number[];
    readonly token_logprob: readonly number[];
  }[];
  readonly ce_per_loop: readonly number[];
}

/** Loops of the passes that the golden runs are read out of; the model has two. */
const MORE_LOOPS = 4;

let device: Device;
let fixture: OpenFixture<Golden>;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
  fixture = await openFixture('tiny-nanbeige');
});
afterAll(() => device.dispose());

it('the checkpoint in two shards has the parameters of its config', () => {
  const { config, weights, golden } = fixture;
  const specs = parameterSpecs(config);
  expect([...weights.keys()].toSorted()).toEqual(specs.map(({ hfName }) => hfName).toSorted());
  expect(specs.reduce((sum, { shape }) => sum + elementCount(shape), 0)).toBe(golden.parameters);
  expect(config.numAttentionHeads * config.headDim).not.toBe(config.hiddenSize);
});

describe.each(['norm-every-loop', 'norm-at-readout'])('%s', (variant) => {
  const configOf = (): LoopLMConfig => ({
    ...fixture.config,
    ...(fixture.golden.variants[variant]!.skip_loop_final_norm && { skipLoopFinalNorm: true }),
  });

  describe('inference', () => {
    let engine: Engine;
    beforeAll(async () => {
      const { weights } = fixture;
      engine = await Engine.create({ device, config: configOf(), weights });
    });
    afterAll(() => engine.dispose());

    it('gives the golden states and logits of every loop', async () => {
      const { golden, array } = fixture;
      const traces: Trace[] = [];
      for (const ids of golden.ids) traces.push(await engine.trace(ids));
      for (const key of ['hidden', 'logits'] as const) {
        const loops = [0, 1].flatMap((loop) =>
          traces.flatMap((trace) => {
            const size = trace[key].length / trace.numLoops;
            return [...trace[key].subarray(loop * size, (loop + 1) * size)];
          }),
        );
        expectClose(loops, await array(`${variant}.${key}`), TOLERANCE.forward, key);
      }
    });

    it.each(['full', 'deferred'] as const)(
      'generates the golden tokens at every depth, prefill %s',
      async (prefill) => {
        const { prompt, variants } = fixture.golden;
        for (const { depth, tokens, token_logprob: logprobs } of variants[variant]!.runs) {
          const request = requestOf(prompt, fixedDepth(depth), { maxNewTokens: tokens.length });
          const [run] = await runAll(engine, [request], { prefill, numLoops: MORE_LOOPS });
          expect(run!.tokens.map(({ tokenId }) => tokenId)).toEqual(tokens);
          const given = run!.tokens.map(({ logprob }) => logprob);
          expectClose(given, logprobs, TOLERANCE.rollout, `log-probabilities at depth ${depth}`);
        }
      },
    );
  });

  it('has the golden loss of every loop', async () => {
    const { train, variants } = fixture.golden;
    const documents = train.ids.map((ids, row): TrainingDocument => ({
      ids,
      targets: train.targets[row]!,
    }));
    const size = { rows: documents.length, length: documents[0]!.ids.length };
    const { batch } = packDocuments(documents, { ...size, padId: 0 });
    const objective = { kind: 'last-loop' } as const;
    const runner = await objectiveRunner(device, configOf(), fixture.weights, objective, size);
    const result = await runner.run(batch);
    await runner.free();
    const expected = variants[variant]!.ce_per_loop;
    expectClose(result['lossPerLoop']!, expected, TOLERANCE.loss, 'loss of every loop');
    expectClose(result['loss']!, [expected.at(-1)!], TOLERANCE.loss, 'loss');
  });
});
