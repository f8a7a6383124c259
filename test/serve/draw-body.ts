/** Random bodies of completions that the bundled model can answer, and what they mean for the library. */
import type { GenerateOptions } from '../../src/loop-lm.js';
import type { Draw } from '../draw.js';

const PROMPTS = [
  'The ball is under cup 3. Swap cups 2 and 3. Swap cups 1 and 5. Where is the ball?',
  'The ball is under cup 1. Swap cups 1 and 2. Swap cups 2 and 3. Swap cups 3 and 4. Where is the ball?',
  'Start with 4. Add 7. Multiply by 3. What is the result?',
  'Start with 9. Add 1. What is the result?',
  'a b c',
];

export interface DrawnBody {
  readonly body: Record<string, unknown> & { readonly prompt: string; readonly seed: number };
  readonly options: GenerateOptions;
}

/** Depths, policies, sampling and ends by chance. */
export function drawBody(draw: Draw, maxTokens = 12): DrawnBody {
  const maybe = <T>(make: () => T): T | undefined => (draw.oneIn(2) ? make() : undefined);
  const greedy = draw.oneIn(3);
  const kvPolicy = draw.pick(['per-loop', 'per-loop', 'last-exited', 'shared'] as const);
  const exitPolicy = maybe(() => draw.pick(['full', 'fixed:2', 'cdf:0.5', 'cdf:0.9', 'sampled']));
  const drawn = {
    prompt: draw.pick(PROMPTS),
    seed: draw.below(1000),
    max_tokens: 1 + draw.below(maxTokens),
    temperature: greedy ? 0 : 0.5 + draw.below(10) / 10,
    top_p: greedy ? undefined : maybe(() => 0.5 + draw.below(5) / 10),
    top_k: greedy ? undefined : maybe(() => 1 + draw.below(20)),
    min_p: greedy ? undefined : maybe(() => draw.below(3) / 10),
    repetition_penalty: draw.oneIn(4) ? 1.2 : undefined,
    presence_penalty: draw.oneIn(4) ? 0.5 : undefined,
    frequency_penalty: draw.oneIn(4) ? -0.5 : undefined,
    logit_bias: draw.oneIn(4) ? { [draw.below(300)]: draw.below(10) - 5 } : undefined,
    exit_policy: exitPolicy,
    min_depth: draw.oneIn(4) ? 2 : undefined,
    max_depth: draw.oneIn(4) ? 3 : undefined,
    kv_policy: kvPolicy,
    speculation: kvPolicy === 'per-loop' && draw.oneIn(4) ? 'auto' : undefined,
    stop: maybe(() => draw.pick(['5', ' ', ['7', '1 ']])),
    ignore_eos: draw.oneIn(2) ? true : undefined,
    priority: maybe(() => draw.below(5)),
    cache_salt: maybe(() => draw.pick(['a', 'b'])),
  } as const;
  const { stop } = drawn;
  return {
    body: Object.fromEntries(
      Object.entries(drawn).filter(([, value]) => value !== undefined),
    ) as DrawnBody['body'],
    options: {
      maxNewTokens: drawn.max_tokens,
      exitPolicy: drawn.exit_policy,
      minDepth: drawn.min_depth,
      maxDepth: drawn.max_depth,
      kvPolicy,
      speculation: drawn.speculation,
      ignoreEos: drawn.ignore_eos,
      stopStrings: typeof stop === 'string' ? [stop] : stop,
      sampling: {
        seed: drawn.seed,
        temperature: drawn.temperature,
        topP: drawn.top_p,
        topK: drawn.top_k,
        minP: drawn.min_p,
        repetitionPenalty: drawn.repetition_penalty,
        presencePenalty: drawn.presence_penalty,
        frequencyPenalty: drawn.frequency_penalty,
        logitBias: drawn.logit_bias,
      },
    },
  };
}
