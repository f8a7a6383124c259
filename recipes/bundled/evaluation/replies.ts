/**
 * Replies as a user gets them: questions as prompts, generated to the end of the turn, and what the
 * engine counts while it does.
 */
import type { Engine, KvPolicy, PrefillMode } from 'looplm/engine';
import { parseExitPolicy, parseSamplingOptions } from 'looplm/engine';
import { mean } from 'looplm/eval';
import type { Encode } from '../documents.js';
import { plainOrChat } from '../documents.js';
import type { Evaluation } from './figures.js';
import type { QuestionSet } from './question-sets.js';
import { meanOverTasks } from './question-sets.js';
import type { PolicyPoint } from './streams.js';
import { policyOf, policySpec } from './streams.js';

/** Of one policy under one prefill. */
export type ReplyFigures = Omit<Evaluation['replies'][number], 'gate'>;

/** Sequences that run together. */
const BATCH_SIZE = 32;
/** Tokens of a reply at most; it ends at the end of the turn. */
export const MAX_NEW_TOKENS = 24;

/** A reply, and what it was to say. */
interface Reply {
  readonly task: string;
  readonly wantedIds: readonly number[];
  readonly tokenIds: number[];
  readonly exitDepths: number[];
}

/** Greedy replies, exact but where the prompt's tokens exit too (`adaptive`). Draws of an exit use the number of the question as seed. */
export async function replyFigures(
  engine: Engine,
  encode: Encode,
  sets: readonly QuestionSet[],
  point: PolicyPoint,
  prefill: PrefillMode,
): Promise<ReplyFigures> {
  const exitPolicy = parseExitPolicy(policySpec(point));
  const kvPolicy: KvPolicy = prefill === 'adaptive' ? 'last-exited' : 'per-loop';
  const asked = sets.flatMap(({ task, questions }) =>
    questions.map(({ turn, writing, ids, promptLength }) => ({
      promptIds: ids.slice(0, promptLength),
      reply: { task, wantedIds: encode(plainOrChat(turn.reply, writing)) },
    })),
  );
  const replies: Reply[] = [];
  let [executedLoops, fullDepthLoops] = [0, 0];
  for (let start = 0; start < asked.length; start += BATCH_SIZE) {
    const batch = asked.slice(start, start + BATCH_SIZE).map(({ promptIds, reply }, index) => ({
      reply: { ...reply, tokenIds: [], exitDepths: [] } as Reply,
      request: {
        promptIds,
        maxNewTokens: MAX_NEW_TOKENS,
        exitPolicy,
        sampling: parseSamplingOptions({ seed: start + index }),
        stopIds: engine.config.eosTokenIds,
        prefill,
        kvPolicy,
        // All loops that a question asks for are counted.
        cachePrefix: false,
      },
    }));
    for await (const event of engine.generate(batch.map(({ request }) => request))) {
      if (event.kind === 'finish') {
        executedLoops += event.executedLoops;
        fullDepthLoops += event.fullDepthLoops;
      } else {
        const { reply } = batch[event.requestIndex]!;
        reply.tokenIds.push(event.tokenId);
        reply.exitDepths.push(event.exitDepth);
      }
    }
    replies.push(...batch.map(({ reply }) => reply));
  }
  const tasks = [...new Set(replies.map(({ task }) => task))];
  const accuracyOf = (task: string) =>
    mean(replies.filter((reply) => reply.task === task).map((reply) => Number(isRight(reply))));
  return {
    ...policyOf(point),
    prefill,
    meanDepth: meanOverTasks(replies, ({ exitDepths }) => mean(exitDepths)),
    accuracy: meanOverTasks(replies, (reply) => Number(isRight(reply))),
    accuracyByTask: Object.fromEntries(tasks.map((task) => [task, accuracyOf(task)])),
    executedLoops,
    fullDepthLoops,
  };
}

const isRight = ({ wantedIds, tokenIds }: Reply): boolean =>
  wantedIds.every((id, place) => tokenIds[place] === id);
