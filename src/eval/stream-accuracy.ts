/**
 * Accuracy of real runs: documents are forced through the engine token by token, each token stopping
 * where its exit policy says, and the answers at labelled positions are what sampling would choose.
 *
 * Needed where an early exit changes what later tokens read: under the KV policies `last-exited` and
 * `shared`. Under `per-loop` it must equal what frontier.ts works out.
 */
import type { TrainingDocument } from '../data/index.js';
import type {
  Engine,
  ExitPolicy,
  GenerationRequest,
  KvPolicy,
  PrefillMode,
} from '../engine/index.js';
import { parseSamplingOptions } from '../engine/index.js';
import { ConfigError } from '../errors.js';

/** A document whose first tokens are the prompt; all further ones are forced. */
export interface StreamedDocument extends TrainingDocument {
  /** Tokens of the prompt, at least 1. Labels may stand at its last token and later. */
  readonly promptLength: number;
}

export interface StreamOptions {
  readonly exitPolicy: ExitPolicy;
  readonly kvPolicy: KvPolicy;
  /** Default `full`. */
  readonly prefill?: PrefillMode;
  /** Sequences that run together. Default 32. */
  readonly batchSize?: number;
}

/** The answer at one labelled position. */
export interface StreamAnswer {
  readonly documentIndex: number;
  readonly position: number;
  readonly exitDepth: number;
  readonly tokenId: number;
  readonly isCorrect: boolean;
}

export interface StreamResult {
  /** In the order of documents and positions. */
  readonly answers: readonly StreamAnswer[];
  /** (token, loop) pairs that were computed, prompts and deferred loops included. */
  readonly executedLoops: number;
  /** The same if every token had run to full depth. */
  readonly fullDepthLoops: number;
}

/**
 * Runs the documents and reads their labelled positions. Draws of a document use its index as seed.
 *
 * @throws ConfigError if a label stands before the last token of the prompt
 * @throws LoopLMError if the engine cannot serve a document
 */
export async function streamAccuracy(
  engine: Engine,
  documents: readonly StreamedDocument[],
  { exitPolicy, kvPolicy, prefill = 'full', batchSize = 32 }: StreamOptions,
): Promise<StreamResult> {
  documents.forEach(checkLabels);
  // Documents of like length finish together, so that few places of a batch stand empty.
  const order = documents
    .map((document, documentIndex) => ({ document, documentIndex }))
    .toSorted((a, b) => a.document.ids.length - b.document.ids.length);
  const answers: StreamAnswer[] = [];
  let [executedLoops, fullDepthLoops] = [0, 0];
  for (let start = 0; start < order.length; start += batchSize) {
    const batch = order.slice(start, start + batchSize);
    const requests = batch.map(({ document, documentIndex }) => ({
      ...forcedRequest(document, exitPolicy, documentIndex),
      kvPolicy,
      prefill,
      // All loops that a document asks for are counted.
      cachePrefix: false,
    }));
    for await (const event of engine.generate(requests)) {
      if (event.kind === 'finish') {
        executedLoops += event.executedLoops;
        fullDepthLoops += event.fullDepthLoops;
        continue;
      }
      const { document, documentIndex } = batch[event.requestIndex]!;
      const position = document.promptLength - 1 + event.tokenIndex;
      const targetId = document.targets[position]!;
      if (targetId < 0) continue;
      const { exitDepth, sampledId: tokenId } = event;
      const isCorrect = tokenId === targetId;
      answers.push({ documentIndex, position, exitDepth, tokenId, isCorrect });
    }
  }
  answers.sort((a, b) => a.documentIndex - b.documentIndex || a.position - b.position);
  return { answers, executedLoops, fullDepthLoops };
}

/** One more token than is forced: it answers the last position. */
function forcedRequest(
  { ids, promptLength }: StreamedDocument,
  exitPolicy: ExitPolicy,
  seed: number,
): GenerationRequest {
  const tokenIds = [...ids];
  return {
    promptIds: tokenIds.slice(0, promptLength),
    forcedIds: tokenIds.slice(promptLength),
    maxNewTokens: ids.length - promptLength + 1,
    exitPolicy,
    sampling: parseSamplingOptions({ seed }),
  };
}

function checkLabels({ targets, promptLength }: StreamedDocument): void {
  const first = targets.findIndex((targetId) => targetId >= 0);
  if (first < 0 || first >= promptLength - 1) return;
  throw new ConfigError(
    'promptLength',
    `A document has a label at position ${first} of a prompt of ${promptLength} tokens; labels must ` +
      'stand at its last token or later. Make the prompt shorter.',
  );
}
