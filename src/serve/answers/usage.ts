/** What the sequences of a request took together. */
import type { TextEvent, TextFinishEvent } from '../../loop-lm.js';
import type { WireResponseUsage, WireUsage } from '../wire/usage.js';

export class UsageCount {
  readonly #numChoices: number;
  readonly #finishes = new Map<number, TextFinishEvent>();
  #numReasoning = 0;

  /** @param numChoices - sequences in a row that share a prompt, which counts once */
  constructor(numChoices: number) {
    this.#numChoices = numChoices;
  }

  take(index: number, event: TextEvent): void {
    if (event.kind === 'finish') this.#finishes.set(index, event);
    else if (event.channel === 'reasoning') this.#numReasoning += 1;
  }

  /** @param without - new tokens that were computed though none were asked for */
  total(without = 0): WireUsage {
    const finishes = [...this.#finishes.values()];
    const ofPrompts = [...this.#finishes].flatMap(([index, finish]) =>
      index % this.#numChoices === 0 ? [finish] : [],
    );
    const sum = (list: readonly TextFinishEvent[], of: (finish: TextFinishEvent) => number) =>
      list.reduce((total, finish) => total + of(finish), 0);
    const numNew = sum(finishes, ({ tokenIds }) => tokenIds.length);
    const depths = sum(finishes, ({ exitDepths }) => exitDepths.reduce((a, b) => a + b, 0));
    const prompt = sum(ofPrompts, ({ numPromptTokens }) => numPromptTokens);
    const loopsRun = sum(finishes, ({ executedLoops }) => executedLoops);
    return {
      prompt_tokens: prompt,
      completion_tokens: numNew - without,
      total_tokens: prompt + numNew - without,
      prompt_tokens_details: { cached_tokens: sum(ofPrompts, ({ cachedTokens }) => cachedTokens) },
      completion_tokens_details: { reasoning_tokens: this.#numReasoning },
      mean_depth: depths / Math.max(1, numNew),
      loops_run: loopsRun,
      loops_saved: sum(finishes, ({ fullDepthLoops }) => fullDepthLoops) - loopsRun,
      drafted_tokens: sum(finishes, ({ draftedTokens }) => draftedTokens),
      accepted_tokens: sum(finishes, ({ acceptedTokens }) => acceptedTokens),
    };
  }
}

/** A usage under the names of the responses API. */
export function responseUsage(usage: WireUsage): WireResponseUsage {
  const { prompt_tokens, completion_tokens, prompt_tokens_details, ...rest } = usage;
  const { completion_tokens_details, ...others } = rest;
  return {
    input_tokens: prompt_tokens,
    input_tokens_details: prompt_tokens_details,
    output_tokens: completion_tokens,
    output_tokens_details: completion_tokens_details,
    ...others,
  };
}
