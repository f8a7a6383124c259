/**
 * Reads what a worker has drawn, and refuses what is not an answer to what was asked: a worker may be of
 * another version, damaged or hostile, and nothing of it may reach the weights unseen.
 */
import { z } from 'zod';
import type { RolloutRecord } from '../../engine/index.js';
import { hasExitGate, parseRollout } from '../../engine/index.js';
import { LoopLMError } from '../../errors.js';
import type { LoopLMConfig } from '../../model/index.js';
import type { DrawnAnswer, GroupRequest } from '../answers.js';
import { checkReplayable } from '../replay.js';

const loops = z.int().min(1);
const answersSchema = z.array(
  z.strictObject({ record: z.unknown(), executedLoops: loops, fullDepthLoops: loops }),
);

/** Answers in the order of their seeds, or in a sentence why they cannot be used. */
export type CheckedAnswers =
  | { readonly answers: readonly DrawnAnswer[] }
  | { readonly fault: string };

export const encodeAnswers = (answers: readonly DrawnAnswer[]): Uint8Array =>
  new TextEncoder().encode(JSON.stringify(answers));

/** @param version - of the weights that they should have been drawn by */
export function checkAnswers(
  bytes: Uint8Array,
  request: GroupRequest,
  version: number,
  model: LoopLMConfig,
): CheckedAnswers {
  let found: z.output<typeof answersSchema>;
  try {
    found = answersSchema.parse(JSON.parse(new TextDecoder().decode(bytes)));
  } catch {
    return { fault: 'they cannot be read' };
  }
  if (found.length !== request.seeds.length) {
    return { fault: `there are ${found.length} in place of ${request.seeds.length}` };
  }
  const answers: DrawnAnswer[] = [];
  for (const [index, { record: json, ...rest }] of found.entries()) {
    try {
      const record = parseRollout(json);
      // which exits the objective can credit was asked of the settings
      checkReplayable(record, { credit: { kind: 'exit' } }, request.kvPolicy);
      const fault = faultOf(record, request, index, model);
      if (fault !== undefined) return { fault };
      if (record.weightsVersion !== version || record.weightsVersions) {
        return { fault: `one was drawn by the weights of version ${record.weightsVersion}` };
      }
      answers.push({ record, ...rest });
    } catch (error) {
      if (!(error instanceof LoopLMError)) throw error;
      return { fault: error.message };
    }
  }
  return { answers };
}

/** Where a record is not what was asked for. */
function faultOf(
  record: RolloutRecord,
  { promptIds, seeds, exitPolicy, maxNewTokens, stopIds }: GroupRequest,
  index: number,
  model: LoopLMConfig,
): string | undefined {
  const { tokenIds, finishReason } = record;
  if (record.promptIds.join() !== promptIds.join()) return 'one answers another prompt';
  if (record.seed !== seeds[index]) return `one has the seed ${record.seed}`;
  if (record.exitPolicy !== exitPolicy) return `one has the exit policy ${record.exitPolicy}`;
  if (record.numLoops !== model.numLoops) return `one has ${record.numLoops} loops`;
  if ((record.gateLogits !== undefined) !== hasExitGate(model)) {
    return 'one lacks gate logits, or has some too many';
  }
  if (tokenIds.length < 1 || tokenIds.length > maxNewTokens) {
    return `one has ${tokenIds.length} tokens, not 1 to ${maxNewTokens}`;
  }
  const unknown = tokenIds.find((id) => id >= model.vocabSize);
  if (unknown !== undefined) return `one has the token ${unknown}, which the model has not`;
  if (finishReason === 'aborted') return 'one was not drawn to its end';
  const stop = tokenIds.findIndex((id) => stopIds.includes(id));
  if (stop !== (finishReason === 'stop-id' ? tokenIds.length - 1 : -1)) {
    return 'one does not end where it should';
  }
  return record.behaviorLogprobs.includes(null) ? 'one holds a token that was forced' : undefined;
}
