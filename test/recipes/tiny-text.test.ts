/** The recipe of a small model on real text: what it reads, and that its run files are ones. */
import { describe, expect, test } from 'vitest';
import { baseConfig, chatConfig, stepsOf } from '../../recipes/tiny-text/configs.js';
import { readCorpus } from '../../recipes/tiny-text/corpus.js';
import { runFileSchema } from '../../src/cli/training/schema.js';
import { trainConfigOf } from '../../src/cli/training/train-config.js';
import { stagesOf } from '../../src/train/index.js';
import { RUN_CONFIG } from '../train/tiny-run.js';
import { repositoryPath } from '../repository.js';

test('its text are the files of the packages that are installed, the same each time', async () => {
  const corpus = await readCorpus(repositoryPath('node_modules'));
  expect(await readCorpus(repositoryPath('node_modules'))).toEqual(corpus);
  expect(corpus.readmes.length).toBeGreaterThan(30);
  expect(corpus.chats).toContainEqual({
    prompt: 'Which licence has zod?',
    completion: 'zod is under MIT.',
  });
  for (const { prompt, completion } of corpus.chats) {
    expect(prompt).toMatch(/\S\?|\S\.$/);
    expect(completion.trim()).not.toBe('');
  }
});

describe.each([1, 0.001])('at scale %d', (scale) => {
  test.each([
    [baseConfig, ['1a 6 loops', '1b 4 loops', '2 annealing', '3 long context'], 4],
    [chatConfig, ['4 conversations', '5 exit gate'], 4],
  ] as const)('its run files are of stages that fit together', (configOf, names, numLoops) => {
    const file = runFileSchema.parse(configOf(stepsOf(scale)));
    const model = { ...RUN_CONFIG.model, numLoops: 4, maxPositionEmbeddings: 1024 };
    const stages = stagesOf(trainConfigOf(file, model, {}));
    expect(stages.map(({ name }) => name)).toEqual(names);
    expect(stages.at(-1)!.model.numLoops).toBe(numLoops);
  });
});
