/** What two settings made of the same prompt, in two sentences and two bars. */
import type { Comparison, Loops } from '../state/comparison.js';
import type { Side } from '../state/settings.js';
import { SIDES } from '../state/settings.js';
import type { Turn } from '../state/state.js';
import { counted, seen, wholePercent } from './format.js';

export function ComparisonLine({
  comparison,
  a,
  b,
}: {
  readonly comparison: Comparison;
  readonly a: Turn;
  readonly b: Turn;
}) {
  const { loops } = comparison;
  const most = Math.max(loops.a.full, loops.b.full, 1);
  return (
    <div class="comparison">
      <p>
        {loopsText(loops.a, loops.b)} {textsText(comparison, a, b)}
      </p>
      <dl>
        {SIDES.map((side) => (
          <LoopsBar key={side} side={side} loops={loops[side]} most={most} />
        ))}
      </dl>
    </div>
  );
}

function LoopsBar({
  side,
  loops: { run, full },
  most,
}: {
  readonly side: Side;
  readonly loops: Loops;
  readonly most: number;
}) {
  const style = { '--share': String(run / most), '--full': String(full / most) };
  return (
    <div class={`loops-bar of-${side}`}>
      <dt>{side.toUpperCase()}</dt>
      <dd>
        <i style={style} aria-hidden="true" />
        <span>
          {run.toLocaleString('en')} of {counted(full, 'loop')}
        </span>
      </dd>
    </div>
  );
}

function loopsText(a: Loops, b: Loops): string {
  const scope = a.hasPrompt ? ', prompt included' : '';
  if (a.run === b.run) return `Both ran ${counted(a.run, 'loop')}${scope}.`;
  const [less, more, name] = a.run < b.run ? [a, b, 'A'] : [b, a, 'B'];
  const share = wholePercent(1 - less.run / more.run);
  return `${name} ran ${counted(more.run - less.run, 'loop')} fewer (${share})${scope}.`;
}

function textsText({ firstDifference, only }: Comparison, a: Turn, b: Turn): string {
  if (firstDifference === undefined) return 'The texts are the same.';
  const tokenOf = (turn: Turn, side: Side) => {
    const [first] = only[side];
    return first === undefined ? 'nothing' : `“${seen(turn.tokens[first]!.name)}”`;
  };
  return `The texts part at token ${firstDifference}: ${tokenOf(a, 'a')} against ${tokenOf(b, 'b')}.`;
}
