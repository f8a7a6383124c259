/** What the end of a sequence adds to its choice, in every API. */
import { rolloutToJson } from '../../engine/index.js';
import type { GenerateOptions, TextFinishEvent } from '../../loop-lm.js';
import { StopStringMatcher } from '../../text/index.js';
import type { ServedModel } from '../served-model.js';

/** The stop string, or the stop id that was asked for; null for any other end. */
export function stopReason(
  { tokenizer }: ServedModel,
  { finishReason, tokenIds }: TextFinishEvent,
  { stopStrings = [], stopIds = [] }: Pick<GenerateOptions, 'stopStrings' | 'stopIds'>,
): string | number | null {
  const last = tokenIds.at(-1);
  if (finishReason === 'stop-id' && last !== undefined && stopIds.includes(last)) return last;
  if (finishReason !== 'stop-string' || !tokenizer) return null;
  const known = tokenIds.filter((id) => tokenizer.idToToken(id) !== undefined);
  const text = tokenizer.decode(known, { skipSpecialTokens: true });
  return new StopStringMatcher(stopStrings).push(text).stoppedBy ?? null;
}

/** The rollout record as plain data, if there is one. */
export function rolloutField({ rollout }: TextFinishEvent): { rollout?: Record<string, unknown> } {
  return rollout ? { rollout: { ...rolloutToJson(rollout) } } : {};
}
