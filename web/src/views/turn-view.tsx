/** A prompt and its answer: reasoning folded, tokens with their depths, how it ended. */
import type { Turn } from '../state/state.js';
import { figuresOf, writtenTokens } from '../state/figures.js';
import { counted, decimal, wholePercent } from './format.js';
import { ProblemNotice } from './problem-notice.js';
import type { PlacedToken, TokenStripProps } from './token-strip.js';
import { TokenStrip } from './token-strip.js';

interface TurnViewProps extends Pick<
  TokenStripProps,
  'numLoops' | 'selected' | 'marked' | 'onSelect'
> {
  readonly turn: Turn;
  readonly isLast: boolean;
  readonly onRetry: () => void;
}

export function TurnView({ turn, isLast, onRetry, ...rest }: TurnViewProps) {
  const placed = turn.tokens.map((token, index) => ({ token, index }));
  const reasoning = placed.filter(({ token }) => token.channel === 'reasoning');
  const answer = placed.filter(({ token }) => token.channel !== 'reasoning');
  const isRunning = turn.status === 'running';
  const showsPrompt = turn.mode === 'chat' || answer[0]?.token.channel !== 'prompt';
  const isThinking = isRunning && answer.length === 0 && reasoning.length > 0;
  return (
    <article class={`turn ${isLast ? 'is-last' : ''}`}>
      {showsPrompt && <p class="turn-prompt">{turn.prompt}</p>}
      {reasoning.length > 0 && <Reasoning tokens={reasoning} isThinking={isThinking} {...rest} />}
      {answer.length > 0 && (
        <TokenStrip label="Tokens of the answer" tokens={answer} isWriting={isRunning} {...rest} />
      )}
      {isRunning && turn.tokens.length === 0 && <p class="waiting">Waiting for the first token…</p>}
      {turn.problem && (
        <ProblemNotice
          problem={turn.problem}
          {...(isLast && turn.problem.kind !== 'refused' ? { onRetry } : {})}
        />
      )}
      {!isRunning && turn.tokens.length > 0 && <Ending turn={turn} numLoops={rest.numLoops} />}
    </article>
  );
}

function Reasoning({
  tokens,
  isThinking,
  ...rest
}: Pick<TurnViewProps, 'numLoops' | 'selected' | 'marked' | 'onSelect'> & {
  readonly tokens: readonly PlacedToken[];
  readonly isThinking: boolean;
}) {
  const { meanDepth } = figuresOf({ tokens: tokens.map(({ token }) => token) }, rest.numLoops);
  return (
    <details class="reasoning">
      <summary>
        {isThinking ? 'Thinking' : 'Reasoning'}
        <span>
          {counted(tokens.length, 'token')} · mean depth {decimal(meanDepth)}
        </span>
      </summary>
      <TokenStrip
        label="Tokens of the reasoning"
        tokens={tokens}
        isWriting={isThinking}
        {...rest}
      />
    </details>
  );
}

const ENDINGS: Readonly<Record<string, string>> = {
  stop: 'ended by itself',
  length: 'reached the most tokens',
  tool_calls: 'called a tool',
  abort: 'stopped by the server',
};

function Ending({ turn, numLoops }: { readonly turn: Turn; readonly numLoops: number }) {
  const { numTokens, meanDepth, savedFraction } = figuresOf(turn, numLoops);
  const how =
    turn.status === 'done' ? (ENDINGS[turn.finishReason ?? ''] ?? turn.finishReason) : turn.status;
  if (writtenTokens(turn).length === 0) return <p class="ending">{how}, no token</p>;
  return (
    <p class="ending">
      {[
        counted(numTokens, 'token'),
        `mean depth ${decimal(meanDepth)}`,
        `${wholePercent(savedFraction)} of their loops saved`,
        how,
      ].join(' · ')}
    </p>
  );
}
