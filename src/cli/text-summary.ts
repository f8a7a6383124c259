/**
 * What a model does with text by default, for `looplm inspect`.
 */
import type { TextFiles } from '../text/index.js';
import type { StopToken } from '../tokenizer/index.js';
import { isThinkingName } from '../tokenizer/index.js';

export interface TextSummary {
  /** Entries of the tokenizer; null without one. */
  readonly tokenizerEntries: number | null;
  readonly hasChatTemplate: boolean;
  readonly stopTokens: readonly StopToken[];
  /** What generation_config.json says; empty without the file. */
  readonly sampling: TextFiles['generationConfig']['sampling'];
  /** Whether chat begins with reasoning. */
  readonly thinksByDefault: boolean;
}

/** @param name - of the model, as the user gave it. */
export function textSummary(
  { tokenizer, chatTemplate, generationConfig }: TextFiles,
  stopTokens: readonly StopToken[],
  name: string,
): TextSummary {
  return {
    tokenizerEntries: tokenizer?.vocabSize ?? null,
    hasChatTemplate: chatTemplate !== undefined,
    stopTokens,
    sampling: generationConfig.sampling,
    thinksByDefault: isThinkingName(name),
  };
}

export function textLines(text: TextSummary): string[] {
  const stops = text.stopTokens.map(
    ({ id, token, sources }) => `${[id, token].join(' ').trim()} (${sources.join(', ')})`,
  );
  const sampling = Object.entries(text.sampling).map(([name, value]) => `${name} ${value}`);
  return [
    `tokenizer ${text.tokenizerEntries === null ? 'none' : `of ${text.tokenizerEntries} entries`}, chat template ${text.hasChatTemplate ? 'there' : 'none'}`,
    `stops at ${stops.join(', ') || 'no token'}`,
    `sampling ${sampling.length > 0 ? `${sampling.join(', ')} (generation_config.json)` : 'greedy'}`,
    ...(text.thinksByDefault ? ['chat begins with reasoning (the name contains "Thinking")'] : []),
  ];
}
