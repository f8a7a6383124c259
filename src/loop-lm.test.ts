/** Laws of text generation, on a random model with the byte-level tokenizer of the bundled one. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PLAIN_TOKENIZER_FILES } from '../test/bundled-copy.js';
import { parseRollout, rolloutToJson } from './engine/index.js';
import { ConfigError, DisposedError, RequestError } from './errors.js';
import type {
  ChatOptions,
  GenerateOptions,
  LoadOptions,
  TextEvent,
  TextFinishEvent,
} from './loop-lm.js';
import { LoopLM } from './loop-lm.js';
import type { LoopLMConfig } from './model/index.js';
import { initializeWeights, memoryFolder, saveCheckpoint } from './model/index.js';
import type { Device } from './runtime/index.js';
import { createInlineDevice } from './runtime/index.js';
import { CHATML_TEMPLATES, ChatTemplate, Tokenizer } from './tokenizer/index.js';

const tokenizer = Tokenizer.fromJson(JSON.parse(PLAIN_TOKENIZER_FILES['tokenizer.json']));
const EOS = 0;
const config: LoopLMConfig = {
  architecture: 'ouro',
  hiddenSize: 16,
  intermediateSize: 24,
  numHiddenLayers: 1,
  numAttentionHeads: 2,
  numKeyValueHeads: 1,
  headDim: 8,
  vocabSize: tokenizer.vocabSize,
  ropeTheta: 10_000,
  rmsNormEps: 1e-6,
  maxPositionEmbeddings: 96,
  tieWordEmbeddings: false,
  numLoops: 3,
  exitThreshold: 0.6,
  initializerRange: 0.5,
  eosTokenIds: [EOS],
};

function folderWith(texts: Readonly<Record<string, string>>) {
  const encoder = new TextEncoder();
  const files = Object.entries(texts).map(([name, text]): [string, Uint8Array] => [
    name,
    encoder.encode(text),
  ]);
  return memoryFolder('the model', new Map(files));
}

async function load(
  extraFiles: Readonly<Record<string, string>>,
  options: Partial<LoadOptions> = {},
) {
  const folder = folderWith(extraFiles);
  await saveCheckpoint(folder, config, initializeWeights(config, 5), { dtype: 'f32' });
  return LoopLM.load(folder, { device, ...options });
}

let device: Device;
let model: LoopLM;
beforeAll(async () => {
  device = await createInlineDevice({ numThreads: 1 });
  model = await load(PLAIN_TOKENIZER_FILES);
});
afterAll(async () => {
  await model.dispose();
  await device.dispose();
});

/** Hot enough to produce all kinds of bytes. */
const wild = (seed: number, more: GenerateOptions = {}): GenerateOptions => ({
  maxNewTokens: 24,
  ignoreEos: true,
  sampling: { temperature: 3, seed },
  ...more,
});

async function eventsOf(events: AsyncIterable<TextEvent>): Promise<TextEvent[]> {
  const all: TextEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

const pieceOf = (event: TextEvent) => (event.kind === 'token' ? event.text : event.lastPiece);

test('the pieces of a text are well-formed and together the decoding of its ids', async () => {
  for (const seed of [1, 2, 3, 4]) {
    const events = await eventsOf(model.generate('Where is the ball?', wild(seed)));
    const finish = events.at(-1) as TextFinishEvent;
    const pieces = events.map(pieceOf);
    const expected = tokenizer.decode(finish.tokenIds, { skipSpecialTokens: true });
    expect(events.filter(({ kind }) => kind === 'finish')).toHaveLength(1);
    expect(pieces.some((piece) => /\p{Surrogate}/u.test(piece))).toBe(false);
    expect(pieces.join('')).toBe(expected);
    expect(finish.text).toBe(expected);
  }
});

test('a stop string cuts the text where it begins and ends the computation', async () => {
  for (const seed of [1, 2, 3, 4]) {
    const whole = await model.complete('Where is the ball?', wild(seed));
    const stop = whole.text.slice(9, 11);
    const options = wild(seed, { stopStrings: ['never', stop], record: true });
    const events = await eventsOf(model.generate('Where is the ball?', options));
    const finish = events.at(-1) as TextFinishEvent;
    const pieces = events.map(pieceOf);
    expect(finish.text).toBe(whole.text.slice(0, whole.text.indexOf(stop)));
    expect(pieces.join('')).toBe(finish.text);
    expect(finish.finishReason).toBe('stop-string');
    expect(finish.executedLoops).toBeLessThan(whole.executedLoops);
    expect(finish.rollout).toMatchObject({
      tokenIds: whole.tokenIds.slice(0, finish.tokenIds.length),
      finishReason: 'stop-string',
      meanDepth: finish.meanDepth,
    });
  }
});

test('a record ends with its text in every list, whatever was computed meanwhile', async () => {
  const whole = await model.complete('Where is the ball?', wild(2));
  const options = wild(2, { stopStrings: [whole.text.slice(9, 11)], record: true });
  let finish: TextFinishEvent | undefined;
  for await (const event of model.generate('Where is the ball?', options)) {
    if (event.kind === 'finish') finish = event;
    // While its reader rests, the sequence goes on for a few tokens.
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  expect(finish!.finishReason).toBe('stop-string');
  expect(parseRollout(rolloutToJson(finish!.rollout!))).toEqual(finish!.rollout);
});

test('prompts of a batch end as they end alone, stop strings included', async () => {
  const prompts = ['Where is the ball?', 'Start with 4. Add 2. What is the result?', [5, 9, 2]];
  const [first] = [await model.complete(prompts[0]!, wild(7))];
  const options = wild(7, { stopStrings: [first.text.slice(3, 5)], record: true });
  const ended: TextFinishEvent[] = [];
  for await (const event of model.generateBatch(prompts, options)) {
    if (event.kind === 'finish') ended[event.promptIndex] = event;
  }
  for (const [promptIndex, prompt] of prompts.entries()) {
    const { rollout, ...alone } = await model.complete(prompt, options);
    const { rollout: batched, ...together } = ended[promptIndex]!;
    const { tokenIds, text, finishReason, exitDepths, lastPiece } = alone;
    expect(together).toMatchObject({ tokenIds, text, finishReason, exitDepths, lastPiece });
    expect(batched!.tokenIds).toEqual(rollout!.tokenIds);
    expect(batched!.gateLogits!.map(({ length }) => length)).toEqual(
      rollout!.gateLogits!.map(({ length }) => length),
    );
  }
});

test('end-of-text ids stop a text unless ignored, and further stop ids join them', async () => {
  const whole = await model.complete('Where is the ball?', wild(1));
  const [, second] = whole.tokenIds;
  const stopped = await model.complete('Where is the ball?', wild(1, { stopIds: [second!] }));
  expect(stopped.tokenIds).toEqual(whole.tokenIds.slice(0, 1 + whole.tokenIds.indexOf(second!)));
  expect(stopped.finishReason).toBe('stop-id');
  expect(stopped.text).toBe(tokenizer.decode(stopped.tokenIds.slice(0, -1)));
  expect(model.eosTokenIds).toEqual([EOS]);
});

test('depth bounds and policies given as text hold for every token', async () => {
  const bounded = await model.complete(
    'Where is the ball?',
    wild(2, { exitPolicy: 'sampled', minDepth: 2 }),
  );
  expect(bounded.exitDepths.every((depth) => depth >= 2)).toBe(true);
  const fixed = await model.complete('Where is the ball?', wild(2, { exitPolicy: 'fixed:1' }));
  expect(new Set(fixed.exitDepths)).toEqual(new Set([1]));
  const { rollout } = await model.complete('Where is the ball?', wild(2, { record: true }));
  expect(rollout!.exitPolicy).toBe(`cdf:${config.exitThreshold}`);
});

test('leaving the loop early frees the memory of the run', async () => {
  const before = await device.stats();
  for await (const event of model.generate('Where is the ball?', wild(1))) {
    if (event.kind === 'token' && event.tokenIndex === 2) break;
  }
  expect(await device.stats()).toEqual(before);
});

test('an aborted run ends with one finish event that says so', async () => {
  const controller = new AbortController();
  const events: TextEvent[] = [];
  for await (const event of model.generate(
    'Where is the ball?',
    wild(1, { signal: controller.signal }),
  )) {
    events.push(event);
    controller.abort();
  }
  expect(events.map(({ kind }) => kind)).toEqual(['token', 'finish']);
  expect(events[1]).toMatchObject({ finishReason: 'aborted' });
});

test('chat continues the rendered template', async () => {
  const chatTemplate = new ChatTemplate(CHATML_TEMPLATES.corrected);
  const messages = [{ role: 'user', content: 'Where is the ball?' }];
  const [token] = await eventsOf(model.chat(messages, { ...wild(1), chatTemplate }));
  const prompt = chatTemplate.apply(messages, { addGenerationPrompt: true });
  const [same] = await eventsOf(model.generate(prompt, wild(1)));
  expect(token).toEqual(same);

  const own = await load({
    ...PLAIN_TOKENIZER_FILES,
    'chat_template.jinja': '{{ messages[0].content }}',
  });
  const [answered] = await eventsOf(own.chat(messages, wild(1)));
  const [continued] = await eventsOf(own.generate('Where is the ball?', wild(1)));
  expect(answered).toEqual(continued);
  await own.dispose();
});

const CHAT_FILES = { ...PLAIN_TOKENIZER_FILES, 'chat_template.jinja': CHATML_TEMPLATES.base };
const hello = [{ role: 'user', content: 'Where is the ball?' }];
const TURN_END = tokenizer.tokenToId('<|im_end|>')!;

/** What the model was given to continue. */
async function promptOf(chatModel: LoopLM, options: ChatOptions = {}): Promise<string> {
  const brief = { ...options, maxNewTokens: 1, record: true };
  const finish = (await eventsOf(chatModel.chat(hello, brief))).at(-1) as TextFinishEvent;
  return tokenizer.decode(finish.rollout!.promptIds);
}

/** Whether a chat ends where a token comes up, which is made likely; seeds are tried until it does. */
async function endsWith(chatModel: LoopLM, tokenId: number, options: ChatOptions = {}) {
  const logitBias = { [tokenId]: 40 };
  for (let seed = 0; seed < 100; seed++) {
    const call = { ...options, maxNewTokens: 6, sampling: { temperature: 9, seed, logitBias } };
    const finish = (await eventsOf(chatModel.chat(hello, call))).at(-1) as TextFinishEvent;
    const place = finish.tokenIds.indexOf(tokenId);
    if (place >= 0 && place < 5) return finish.finishReason === 'stop-id';
  }
  throw new Error(`token ${tokenId} never came`);
}

test('a ChatML model stops at the end of a turn, which its config does not name', async () => {
  const chatModel = await load(CHAT_FILES);
  expect(chatModel.eosTokenIds).toEqual([EOS, TURN_END]);
  expect(await endsWith(chatModel, TURN_END)).toBe(true);
  expect(await endsWith(chatModel, TURN_END, { ignoreEos: true })).toBe(false);
  await chatModel.dispose();
});

test('a template of the call brings its own end of turn', async () => {
  const chatTemplate = new ChatTemplate(CHATML_TEMPLATES.corrected);
  expect(model.eosTokenIds).toEqual([EOS]);
  expect(await endsWith(model, TURN_END, { chatTemplate })).toBe(true);
});

test('generation_config.json adds stop ids and says how to draw, and a call goes before it', async () => {
  const file = { eos_token_id: [EOS, 7], temperature: 3, top_p: 0.9 };
  const sampled = await load({
    ...PLAIN_TOKENIZER_FILES,
    'generation_config.json': JSON.stringify(file),
  });
  expect(sampled.stopTokens.map(({ id, sources }) => [id, sources.length])).toEqual([
    [EOS, 4],
    [7, 1],
  ]);
  const drawn = await sampled.complete('Where is the ball?', { record: true });
  expect(drawn.rollout!.sampling).toMatchObject({ temperature: 3, topP: 0.9 });
  const sampling = { temperature: 0 };
  const greedy = await sampled.complete('Where is the ball?', { sampling });
  expect(greedy.tokenIds).toEqual(
    (await model.complete('Where is the ball?', { stopIds: [7] })).tokenIds,
  );
  await sampled.dispose();
});

test('a model named Thinking opens its reasoning, unless the call says otherwise', async () => {
  const opened = /<\|im_start\|>assistant\n<think>\n$/;
  const closed = /<\|im_start\|>assistant\n$/;
  const thinking = await load(CHAT_FILES, { name: 'ByteDance/Ouro-1.4B-Thinking' });
  const plain = await load(CHAT_FILES, { name: 'ByteDance/Ouro-1.4B' });
  expect([thinking.thinksByDefault, plain.thinksByDefault]).toEqual([true, false]);
  expect(await promptOf(thinking)).toMatch(opened);
  expect(await promptOf(thinking, { enableThinking: false })).toMatch(closed);
  expect(await promptOf(plain)).toMatch(closed);
  expect(await promptOf(plain, { enableThinking: true })).toMatch(opened);
  await thinking.dispose();
  await plain.dispose();
});

test('what follows an open think tag is reasoning: in chat, and elsewhere when asked for', async () => {
  const chatTemplate = new ChatTemplate(CHATML_TEMPLATES.corrected);
  const options = wild(3, { maxNewTokens: 8 });
  const events = await eventsOf(
    model.chat(hello, { ...options, chatTemplate, enableThinking: true }),
  );
  const finish = events.at(-1) as TextFinishEvent;
  expect(finish.reasoning).toBe(finish.text.trim());
  expect(finish.answer).toBe('');
  const prompt = chatTemplate.apply(hello, { addGenerationPrompt: true, enableThinking: true });
  const ids = tokenizer.encode(prompt);
  for (const form of [prompt, ids]) {
    const split = await model.complete(form, { ...options, splitReasoning: true });
    expect(split.reasoning).toBe(finish.reasoning);
    const whole = await model.complete(form, options);
    expect(whole).toMatchObject({ text: finish.text, answer: finish.text, reasoning: '' });
  }
});

test.each<[string, unknown, RegExp]>([
  [
    'an unknown option',
    { temperature: 1 },
    /"temperature" of the generation options is not known; .* maxNewTokens/,
  ],
  ['an unknown KV policy', { kvPolicy: 'mean' }, /per-loop, last-exited, shared/],
  ['an unknown prefill', { prefill: 'lazy' }, /full, deferred/],
  ['a policy that cannot be read', { exitPolicy: 'deep' }, /Write one of/],
  ['an unknown sampling field', { sampling: { topk: 1 } }, /topk/],
  ['a stop string without text', { stopStrings: ['a', ''] }, /^stopStrings\.1 is ""; .*character/],
  ['a stop string that is no list', { stopStrings: 'a' }, /^stopStrings is "a"; .*list of texts/],
  ['a stop id that is none', { stopIds: [1, -2] }, /^stopIds\.1 is -2; .*number from 0 up/],
  ['a stop id that is no list', { stopIds: 2 }, /^stopIds is 2; .*list of token ids/],
])('%s is a ConfigError before anything is computed', async (_, options, message) => {
  const pending = model.complete('Where is the ball?', options as GenerateOptions);
  await expect(pending).rejects.toThrow(ConfigError);
  await expect(model.complete('Where is the ball?', options as GenerateOptions)).rejects.toThrow(
    message,
  );
});

test('a model without tokenizer or template says what it lacks', async () => {
  const bare = await load({});
  await expect(bare.complete('text')).rejects.toThrow(RequestError);
  await expect(bare.complete([1], { stopStrings: ['x'] })).rejects.toThrow(/tokenizer\.json/);
  expect((await bare.complete([1, 2], wild(1))).text).toBe('');
  await expect(eventsOf(bare.chat([{ role: 'user', content: 'x' }]))).rejects.toThrow(
    /no chat template/,
  );
  await bare.dispose();
  await expect(bare.complete([1])).rejects.toThrow(DisposedError);
  await expect(LoopLM.load(folderWith({ 'tokenizer.json': '{' }), { device })).rejects.toThrow(
    /not valid JSON/,
  );
});

test('check refuses what generate refuses, and gives the ids of the prompt', () => {
  expect(model.check('Where is the ball?', wild(1))).toEqual(
    tokenizer.encode('Where is the ball?'),
  );
  expect(model.check([1, 2])).toEqual([1, 2]);
  const long = Array.from({ length: 97 }, () => 1);
  expect(() => model.check(long)).toThrow(/97 tokens; the model's context holds 96/);
  expect(() => model.check('Where is the ball?', { minDepth: 4 })).toThrow(ConfigError);
  expect(() => model.check([config.vocabSize])).toThrow(RequestError);
});

test('a scored prompt comes with the first token, and asking changes no token', async () => {
  const options = wild(2, { promptLogprobs: 1, topLogprobs: 2, loopLogprobs: 1 });
  const events = await eventsOf(model.generate('Where is the ball?', options));
  const plain = await eventsOf(model.generate('Where is the ball?', wild(2)));
  for (const [index, event] of events.entries()) {
    if (event.kind === 'finish') continue;
    const { topLogprobs, loops, promptTokens, ...token } = event;
    expect(token).toEqual(plain[index]);
    expect(topLogprobs).toHaveLength(2);
    expect(loops!.length).toBeGreaterThanOrEqual(token.exitDepth);
    const ids = promptTokens?.map(({ tokenId }) => tokenId);
    expect(ids).toEqual(index === 0 ? tokenizer.encode('Where is the ball?') : undefined);
  }
});

test('a chat is its prompt, continued until its end ids', async () => {
  const chatTemplate = new ChatTemplate(
    '{{ tools[0].name }} {{ colour }} {{ messages[-1].tool_calls[0].function.name }}',
  );
  const call = { type: 'function', function: { name: 'look', arguments: { at: 3 } } } as const;
  const messages = [{ role: 'assistant', content: '', tool_calls: [call] }];
  const tools = [{ name: 'see' }];
  const { prompt, endIds } = model.chatPrompt(messages, {
    chatTemplate,
    tools,
    templateArguments: { colour: 'red' },
  });
  expect(prompt).toBe('see red look');
  expect(endIds).toEqual([EOS]);
  const plain = new ChatTemplate('{{ messages[0].content }}');
  expect(() => model.chatPrompt(messages, { chatTemplate: plain, tools })).toThrow(
    /no place for them/,
  );
  expect(() => model.chatPrompt(messages)).toThrow(/no chat template/);
});

test('weights are exchanged for those of another folder of the same model', async () => {
  const other = folderWith(PLAIN_TOKENIZER_FILES);
  await saveCheckpoint(other, config, initializeWeights(config, 6), { dtype: 'f32' });
  await using reference = await LoopLM.load(other, { device });
  const expected = await reference.complete('Where is the ball?', wild(1));
  const stats = await device.stats();
  const updatable = await load(PLAIN_TOKENIZER_FILES, { updatable: true });
  expect((await updatable.complete('Where is the ball?', wild(1))).text).toBe(
    (await model.complete('Where is the ball?', wild(1))).text,
  );
  expect(await updatable.updateWeights(other)).toBe(1);
  const after = await updatable.complete('Where is the ball?', wild(1));
  expect(after).toMatchObject({
    text: expected.text,
    weightsVersion: 1,
  });
  const wider = folderWith({});
  const widerConfig = { ...config, ropeTheta: 500, numLoops: 2 };
  await saveCheckpoint(wider, widerConfig, initializeWeights(widerConfig, 6), { dtype: 'f32' });
  await expect(updatable.updateWeights(wider)).rejects.toThrow(
    'The folder holds another model: ropeTheta, numLoops differ. Give weights of the model that is loaded.',
  );
  await expect(model.updateWeights(other)).rejects.toThrow(/not loaded as updatable/);
  expect(updatable.stats.weightsVersion).toBe(1);
  await updatable.dispose();
  expect(await device.stats()).toEqual(stats);
});

test('a device that is owned goes with the model', async () => {
  const shared = device;
  const owned = await createInlineDevice({ numThreads: 1 });
  device = owned;
  const owner = await load({}, { ownsDevice: true });
  device = shared;
  await owner.dispose();
  await expect(owned.stats()).rejects.toThrow(DisposedError);
});
