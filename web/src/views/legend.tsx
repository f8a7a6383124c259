/** What a colour and a number of lines mean: a depth. With tokens, how many exited there. */
import type { Token } from '../api/token.js';
import { depthCounts } from '../state/figures.js';
import { wholePercent } from './format.js';
import { depthStyle } from './theme.js';

/** More depths than this are shown by some of them. */
const MOST_SHOWN = 8;

export function Legend({
  numLoops,
  tokens,
}: {
  readonly numLoops: number;
  readonly tokens?: readonly Token[];
}) {
  const counts = tokens && depthCounts(tokens, numLoops);
  const total = counts?.reduce((sum, count) => sum + count, 0) ?? 0;
  return (
    <ul class="legend" aria-label="Depths">
      {shownDepths(numLoops).map((depth) => (
        <li key={depth}>
          <Strata depth={depth} />
          <span>
            {depth} {depth === 1 ? 'loop' : 'loops'}
          </span>
          {counts && total > 0 && <b>{wholePercent(counts[depth - 1]! / total)}</b>}
        </li>
      ))}
    </ul>
  );
}

/** The mark of a depth: as many lines as loops, in its colour. */
export function Strata({ depth }: { readonly depth: number }) {
  return <i class="strata" style={depthStyle(depth)} aria-hidden="true" />;
}

function shownDepths(numLoops: number): readonly number[] {
  if (numLoops <= MOST_SHOWN) return Array.from({ length: numLoops }, (_, index) => index + 1);
  const shown = [0, 0.25, 0.5, 0.75, 1].map((part) => 1 + Math.round(part * (numLoops - 1)));
  return [...new Set(shown)];
}
