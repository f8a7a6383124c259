/**
 * What looplm itself says, for clients in other languages: calls as JSON on the standard input, their
 * answers as JSON on the standard output. No server has a part in it.
 */
import { text } from 'node:stream/consumers';
import { LoopLM } from 'looplm';
import { readLoops } from 'looplm/eval';
import { bundledModelPath, nodeFolder } from 'looplm/node';
import { sampledExit } from 'looplm/engine';
import { loadCheckpoint } from 'looplm/model';
import type { GroupPlanOptions, PolicyTask } from 'looplm/rl';
import { planGroups, policyTextOf } from 'looplm/rl';
import { loadTextFiles } from 'looplm/text';
import type { ChatMessage, GenerateOptions, Prompt } from 'looplm';

/** Scores tokens from `start` on, each at its exit depth under `cdf:` the model's threshold. */
interface ScoreCall {
  readonly call: 'score';
  readonly ids: readonly number[];
  readonly start: number;
  /** Divides the logits; default 1. */
  readonly temperature?: number;
  /** Most likely tokens beside each; default 0. */
  readonly count?: number;
  /** All tokens at this depth; default where the model exits. */
  readonly depth?: number;
}

interface AnswerCall {
  readonly call: 'answer';
  /** Messages are answered as a chat. */
  readonly prompt: string | readonly number[] | readonly ChatMessage[];
  readonly options?: GenerateOptions;
}

interface EncodeCall {
  readonly call: 'encode';
  readonly text: string;
}

/** What an update of reinforcement learning asks of a policy: prompts and seeds. */
interface RequestsCall extends Pick<
  GroupPlanOptions<never>,
  'groupSize' | 'maxNewTokens' | 'seed'
> {
  readonly call: 'requests';
  /** Module of the task, of a single difficulty. */
  readonly task: string;
  readonly step: number;
  readonly groups: number;
  readonly length: number;
}

type Call = ScoreCall | AnswerCall | EncodeCall | RequestsCall;

/** As the engine scores a prompt, and as `looplm/eval` reads the same off one pass over all loops. */
async function score(model: LoopLM, call: ScoreCall) {
  const { ids, start } = call;
  const targets = [...ids.slice(1), -1].map((id, place) => (place + 1 < start ? -1 : id));
  const readings = await readLoops(model, [{ ids, targets }]);
  const read = readings.map(({ loops }) => {
    const gates = loops.map(({ gateLogit }) => gateLogit);
    return loops[(call.depth ?? exitDepth(gates, model.config.exitThreshold)) - 1]!;
  });
  return {
    ...(await scoredPrompt(model, call)),
    readLogprobs: read.map(({ loss }) => -loss),
    isGreedy: read.every(({ isCorrect }) => isCorrect),
  };
}

async function scoredPrompt(model: LoopLM, call: ScoreCall) {
  const { ids, start, temperature, count = 0, depth } = call;
  const options = {
    promptLogprobs: count,
    promptTemperature: temperature,
    maxNewTokens: 1,
    exitPolicy: depth === undefined ? undefined : `fixed:${depth}`,
  };
  for await (const event of model.generate(ids, options)) {
    if (event.kind !== 'token') continue;
    const scored = event.promptTokens!.slice(start);
    return {
      logprobs: scored.map(({ logprob }) => logprob!),
      topLogprobs: scored.map(({ topLogprobs = [] }) => topLogprobs),
    };
  }
  throw new Error('a prompt without a token after it');
}

/** The first loop at which 1 - prod(1 - sigmoid(gate)) reaches the threshold, or the last. */
function exitDepth(gateLogits: readonly number[], threshold: number): number {
  let survival = 1;
  const depth = gateLogits.findIndex((logit) => {
    survival *= 1 / (1 + Math.exp(logit));
    return 1 - survival >= threshold;
  });
  return depth === -1 ? gateLogits.length : depth + 1;
}

async function answer(model: LoopLM, { prompt, options = {} }: AnswerCall) {
  const logprobs: number[] = [];
  const isChat = typeof prompt !== 'string' && typeof prompt[0] === 'object';
  const events = isChat
    ? model.chat(prompt as readonly ChatMessage[], options)
    : model.generate(prompt as Prompt, options);
  for await (const event of events) {
    if (event.kind === 'token') logprobs.push(event.behavior?.logprob ?? event.logprob);
    else return { ...event, logprobs };
  }
  throw new Error('an answer without an end');
}

async function requests({ task: path, step, groups, length, ...settings }: RequestsCall) {
  const { default: task } = (await import(path)) as { readonly default: PolicyTask };
  const folder = nodeFolder(modelPath);
  const { config } = await loadCheckpoint(folder);
  const plans = planGroups(
    step,
    Array.from({ length: groups }, () => 1),
    {
      ...settings,
      task,
      text: policyTextOf(await loadTextFiles(folder), config),
      exitPolicy: sampledExit(),
      kvPolicy: 'per-loop',
      maxLength: length,
    },
  );
  return plans.map(({ request }) => request);
}

async function perform(model: LoopLM, call: Call): Promise<unknown> {
  switch (call.call) {
    case 'score':
      return score(model, call);
    case 'answer':
      return answer(model, call);
    case 'encode':
      return model.encode(call.text);
    case 'requests':
      return requests(call);
  }
}

const given = JSON.parse(await text(process.stdin)) as {
  readonly model?: string;
  /** As a server for trainers holds it, which adds up in another order. */
  readonly updatable?: boolean;
  readonly calls: readonly Call[];
};
const { model: modelPath = bundledModelPath(), updatable = false, calls } = given;
const model = await LoopLM.fromPretrained(modelPath, { numThreads: 1, updatable });
const answers: unknown[] = [];
for (const call of calls) answers.push(await perform(model, call));
await model.dispose();
process.stdout.write(`${JSON.stringify(answers)}\n`);
