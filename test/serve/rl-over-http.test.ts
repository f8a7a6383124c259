/**
 * A run of reinforcement learning whose rollouts come over HTTP, as those of any trainer do: a server in a
 * process of its own answers, and takes weights back from folders. It gets what `looplm rl` gets, to the bit.
 */
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parseRollout } from '../../src/engine/index.js';
import { loadCheckpoint, memoryFolder, saveCheckpoint } from '../../src/model/index.js';
import { bundledModelPath } from '../../src/platform/node/bundled-model.js';
import type { PolicyTask, RolloutProvider } from '../../src/rl/index.js';
import { RolloutSource, parseRLSettings, policyRun, policyTextOf } from '../../src/rl/index.js';
import { createInlineDevice } from '../../src/runtime/index.js';
import type { MetricRecord } from '../../src/train/index.js';
import { parseMetrics, train } from '../../src/train/index.js';
import { readTokenizerFiles } from '../../src/cli/tokenizer-files.js';
import { cli, temporaryFolder } from '../cli/support.js';
import { freePort, startProgram, untilAnswers } from '../programs.js';
import { repositoryPath } from '../repository.js';
import { nodeFolder } from './server.js';

const KEY = 'secret';
const root = temporaryFolder();
const taskPath = join(root, 'task.mjs');
writeFileSync(
  taskPath,
  `export default {
    name: 'sevens',
    maxDifficulty: 3,
    draw: (rng, difficulty) => ({ prompt: 'take '.repeat(difficulty) + (Math.abs(rng.next()) % 9) + ';' }),
    reward: ({ tokenIds }) => (tokenIds.reduce((sum, id) => sum + id, 0) % 7) / 6,
  };\n`,
);
const SETTINGS = { groups: 2, groupSize: 3, maxNewTokens: 4 };
const TRAINING = { learningRate: 0.001, trainSteps: 3 };
const [ROWS, LENGTH] = [2, 16];

/** A server that takes weights from a folder's folders. */
async function startServer(weightsRoot: string) {
  const port = await freePort();
  const flags = { port, threads: 1, 'allow-weight-updates': weightsRoot, 'api-key': KEY };
  const words = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)]);
  const program = startProgram(process.execPath, [
    repositoryPath('dist/bin/looplm.js'),
    'serve',
    ...words,
  ]);
  const url = `http://127.0.0.1:${port}`;
  await untilAnswers(program, () => fetch(`${url}/ready`));
  return { program, url };
}

/** Asks a server for rollouts, as a trainer without looplm's engine would. */
function overHttp(url: string, weightsRoot: string): RolloutProvider {
  const asked = new Map<number, Parameters<RolloutProvider['ask']>[1]>();
  const post = async (path: string, body: object) => {
    const headers = { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' };
    const answer = await fetch(url + path, { method: 'POST', headers, body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`${path}: ${await answer.text()}`);
    return (await answer.json()) as Record<string, unknown>;
  };
  return {
    async useWeights({ trainStep, weights, model }) {
      if (trainStep === 0) return; // the server has begun with them
      const folder = mkdtempSync(join(weightsRoot, `step-${trainStep}-`));
      const values = new Map<string, Float32Array>();
      for (const [name, buffer] of weights.buffers) {
        const { data } = await weights.device.download(buffer);
        values.set(name, data as Float32Array);
      }
      await saveCheckpoint(nodeFolder(folder), model, values, { dtype: 'f32' });
      writeFileSync(join(folder, 'STABLE'), '');
      const answer = await post('/update_weights', { weight_dir: folder, mode: 'keep' });
      expect(answer).toMatchObject({ weights_version: trainStep });
    },
    async ask(trainStep, groups) {
      asked.set(trainStep, groups);
    },
    async *answers(trainStep) {
      for (const [group, request] of asked.get(trainStep)!.entries()) {
        const drawing = request.seeds.map(async (seed, index) => {
          const { choices } = await post('/inference/v1/generate', {
            token_ids: request.promptIds,
            sampling_params: {
              temperature: 1,
              top_p: 1,
              seed,
              max_tokens: request.maxNewTokens,
              stop_token_ids: request.stopIds,
              ignore_eos: true,
            },
            exit_policy: request.exitPolicy,
            kv_policy: request.kvPolicy,
            rollout: true,
          });
          const [choice] = choices as [{ readonly rollout: unknown }];
          const record = parseRollout(choice.rollout);
          const loops = record.loopLogprobs.flat().length;
          const all = record.tokenIds.length * record.numLoops;
          return { group, index, record, executedLoops: loops, fullDepthLoops: all, staleness: 0 };
        });
        yield* await Promise.all(drawing);
      }
    },
    forget: () => asked.clear(),
    release: async () => {},
  };
}

const toldOf = (text: string) =>
  parseMetrics(text).flatMap((record) => {
    const { source } = record as MetricRecord;
    return source ? [{ reward: source['reward'], meanDepth: source['meanDepth'] }] : [];
  });

test('a run over HTTP gets the rewards and the weights of one in a single process', async () => {
  const out = join(root, 'alone');
  const config = join(root, 'rl.json');
  const file = {
    from: bundledModelPath(),
    task: taskPath,
    rows: ROWS,
    length: LENGTH,
    ...SETTINGS,
    evaluation: { problems: 0 },
    training: TRAINING,
  };
  writeFileSync(config, JSON.stringify(file));
  const { exitCode, stderr } = await cli([
    'rl',
    '--config',
    config,
    '--out',
    out,
    '--threads',
    '1',
  ]);
  expect(exitCode, stderr).toBe(0);

  const folder = nodeFolder(bundledModelPath());
  const { config: model, weights } = await loadCheckpoint(folder);
  const { default: task } = (await import(taskPath)) as { default: PolicyTask };
  const text = policyTextOf((await readTokenizerFiles(folder)).texts!, model);
  const settings = parseRLSettings(SETTINGS);
  const size = { rows: ROWS, length: LENGTH };
  const shared = { task, text, settings, model, weights, ...size };
  const run = policyRun({ ...shared, training: TRAINING, evaluateEvery: 100 });
  const weightsRoot = mkdtempSync(join(root, 'weights-'));
  const { program, url } = await startServer(weightsRoot);
  const device = await createInlineDevice({ numThreads: 1 });
  try {
    const files = new Map<string, Uint8Array>();
    const rollouts = overHttp(url, weightsRoot);
    const { weights: learnt } = await train({
      ...run,
      source: new RolloutSource({ ...shared, seed: run.config.seed, rollouts }),
      device,
      folder: memoryFolder('run', files),
      now: () => 0,
      memoryBytes: () => 0,
    });
    const alone = toldOf(readFileSync(join(out, 'metrics.jsonl'), 'utf8'));
    expect(alone).toHaveLength(TRAINING.trainSteps);
    expect(toldOf(new TextDecoder().decode(files.get('metrics.jsonl')))).toEqual(alone);
    const expected = await loadCheckpoint(nodeFolder(out));
    for (const [name, values] of learnt) expect(values, name).toEqual(expected.weights.get(name));
    for (const [name, values] of learnt) {
      if (values.some((value, i) => value !== weights.get(name)![i])) return;
    }
    expect.fail('nothing was learnt');
  } finally {
    await device.dispose();
    await program.stop();
  }
});
