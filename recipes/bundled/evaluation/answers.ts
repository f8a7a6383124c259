/**
 * Answers as a user gets them: problems as prompts, generated to the end of the text, and what the
 * engine counts while it does.
 */
import type { Engine, KvPolicy, PrefillMode } from 'looplm/engine';
import { parseExitPolicy, parseSamplingOptions } from 'looplm/engine';
import type { Evaluation } from './figures.js';
import type { ProblemSet, TaskName } from './problem-sets.js';
import { meanOverTasks } from './problem-sets.js';
import type { PolicyPoint } from './streams.js';
import { policyOf, policySpec } from './streams.js';

/** Of one policy under one prefill. */
export type AnswerFigures = Omit<Evaluation['answers'][number], 'gate' | 'problems'>;

/** Sequences that run together. */
const BATCH_SIZE = 32;
/** An answer and the end of the text take two. */
const MAX_NEW_TOKENS = 8;

/** Greedy answers, exact but where the prompt's tokens exit too (`adaptive`). Draws of an exit use the number of the problem as seed. */
export async function answerFigures(
  engine: Engine,
  sets: readonly ProblemSet[],
  point: PolicyPoint,
  prefill: PrefillMode,
): Promise<AnswerFigures> {
  const exitPolicy = parseExitPolicy(policySpec(point));
  const problems = sets.flatMap(({ task, documents }) =>
    documents.map(({ ids, targets }) => ({ task, ids, answerId: targets.at(-1)! })),
  );
  const kvPolicy: KvPolicy = prefill === 'adaptive' ? 'last-exited' : 'per-loop';
  const answers: { task: TaskName; isCorrect: boolean; exitDepth: number }[] = [];
  let [executedLoops, fullDepthLoops] = [0, 0];
  for (let start = 0; start < problems.length; start += BATCH_SIZE) {
    const batch = problems.slice(start, start + BATCH_SIZE);
    const requests = batch.map(({ ids }, index) => ({
      promptIds: ids,
      maxNewTokens: MAX_NEW_TOKENS,
      exitPolicy,
      sampling: parseSamplingOptions({ seed: start + index }),
      stopIds: engine.config.eosTokenIds,
      prefill,
      kvPolicy,
      // All loops that a problem asks for are counted.
      cachePrefix: false,
    }));
    for await (const event of engine.generate(requests)) {
      if (event.kind === 'finish') {
        executedLoops += event.executedLoops;
        fullDepthLoops += event.fullDepthLoops;
      } else if (event.tokenIndex === 0) {
        const { task, answerId } = batch[event.requestIndex]!;
        const { exitDepth, tokenId } = event;
        answers.push({ task, isCorrect: tokenId === answerId, exitDepth });
      }
    }
  }
  return {
    ...policyOf(point),
    prefill,
    meanDepth: meanOverTasks(answers, ({ exitDepth }) => exitDepth),
    accuracy: meanOverTasks(answers, ({ isCorrect }) => Number(isCorrect)),
    executedLoops,
    fullDepthLoops,
  };
}
