/** The bundled model, which decides for itself: one stream and many, and its own guesses. */
import type { ExitPolicy, GenerationRequest, Speculation } from 'looplm/engine';
import { generatorFor } from 'looplm/data';
import { cdfThreshold, Engine, fullDepth, parseSamplingOptions } from 'looplm/engine';
import { loadCheckpoint } from 'looplm/model';
import { bundledModelPath, nodeFolder } from 'looplm/node';
import { Tokenizer } from 'looplm/tokenizer';
import { drawAt } from '../../recipes/bundled/curriculum.js';
import { textOf } from '../../recipes/bundled/problem.js';
import { cups } from '../../recipes/bundled/tasks/cups.js';
import type { ReadoutClock } from '../lib/readout-clock.js';

export const BUNDLED_STREAMS = [1, 16];
export const SPECULATIONS: readonly Speculation[] = ['off', 1, 2, 3, 'auto'];

/** Tokens of a stream: it goes on behind the end of its answer. */
const NUM_TOKENS = 96;
/** Prompts that are continued one after the other to measure guesses. */
const NUM_GUESSED_PROMPTS = 4;
const DIFFICULTY = 6;

export interface Guessing {
  readonly tokensPerSecond: number;
  /** Tokens that were guessed, and how many were kept: what follows a wrong guess goes with it. */
  readonly drafted: number;
  readonly accepted: number;
  readonly stepsPerToken: number;
}

export class BundledModel {
  readonly exits: ReadonlyMap<string, ExitPolicy>;
  readonly #engine: Engine;
  readonly #clock: ReadoutClock;
  readonly #prompts: readonly (readonly number[])[];
  /** What was said under each policy, whoever guessed. */
  readonly #said = new Map<string, string>();

  private constructor(
    engine: Engine,
    clock: ReadoutClock,
    prompts: readonly (readonly number[])[],
  ) {
    this.#engine = engine;
    this.#clock = clock;
    this.#prompts = prompts;
    const { exitThreshold } = engine.config;
    this.exits = new Map([
      ['full depth', fullDepth()],
      [`its own, cdf:${exitThreshold}`, cdfThreshold(exitThreshold)],
    ]);
  }

  static async open(clock: ReadoutClock, seed: number): Promise<BundledModel> {
    const folder = nodeFolder(bundledModelPath());
    const tokenizer = Tokenizer.fromJson(JSON.parse(await folder.readText('tokenizer.json')));
    const engine = await Engine.create({ device: clock, ...(await loadCheckpoint(folder)) });
    const prompts = Array.from({ length: Math.max(...BUNDLED_STREAMS) }, (_, index) => {
      const rng = generatorFor(seed, index);
      const [turn] = drawAt(rng, cups, cups.lessons.at(-1)!, DIFFICULTY).turns;
      return tokenizer.encode(textOf(turn!.asked));
    });
    return new BundledModel(engine, clock, prompts);
  }

  /** Tokens a second of so many calls at once, prompts included, under its own policy. */
  async streams(count: number): Promise<number> {
    const own = [...this.exits.values()].at(-1)!;
    const prompts = this.#prompts.slice(0, count);
    const start = performance.now();
    await Promise.all(prompts.map((ids) => this.#run(this.#request(ids, own, 'off'))));
    return (prompts.length * NUM_TOKENS) / ((performance.now() - start) / 1000);
  }

  /** One stream. @throws Error if guesses change what is said */
  async guessing(exits: string, speculation: Speculation): Promise<Guessing> {
    const { numSteps } = this.#clock;
    const start = performance.now();
    let [drafted, accepted, said] = [0, 0, ''];
    const prompts = this.#prompts.slice(0, NUM_GUESSED_PROMPTS);
    for (const ids of prompts) {
      const run = await this.#run(this.#request(ids, this.exits.get(exits)!, speculation));
      drafted += run.draftedTokens;
      accepted += run.acceptedTokens;
      said += run.said;
    }
    const seconds = (performance.now() - start) / 1000;
    const before = this.#said.get(exits) ?? said;
    this.#said.set(exits, before);
    if (said !== before) throw new Error(`With speculation ${speculation} it says something else.`);
    const numTokens = prompts.length * NUM_TOKENS;
    return {
      tokensPerSecond: numTokens / seconds,
      drafted,
      accepted,
      stepsPerToken: (this.#clock.numSteps - numSteps) / numTokens,
    };
  }

  dispose(): Promise<void> {
    return this.#engine.dispose();
  }

  #request(
    promptIds: readonly number[],
    exitPolicy: ExitPolicy,
    speculation: Speculation,
  ): GenerationRequest {
    const sampling = parseSamplingOptions({});
    const rest = { maxNewTokens: NUM_TOKENS, sampling, cachePrefix: false };
    return { promptIds, exitPolicy, speculation, ...rest };
  }

  async #run(request: GenerationRequest) {
    let said = '';
    for await (const event of this.#engine.generate([request])) {
      if (event.kind === 'finish') return { said, ...event };
      said += `${event.tokenId} ${event.exitDepth} ${event.logprob}\n`;
    }
    throw new Error('a request ended without its end');
  }
}
