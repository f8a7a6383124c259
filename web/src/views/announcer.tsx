/** Tells a screen reader what happens, once per event: no token is read while they stream. */
import type { State, Turn } from '../state/state.js';
import { activeSides, isRunning, modelOf } from '../state/state.js';
import { figuresOf } from '../state/figures.js';
import { textOf } from '../state/session.js';
import { counted, decimal } from './format.js';

export function Announcer({ state }: { readonly state: State }) {
  return (
    <p class="unseen-text" role="status">
      {announcement(state)}
    </p>
  );
}

function announcement(state: State): string {
  const model = modelOf(state);
  if (!model) return '';
  if (isRunning(state)) return 'The model is writing.';
  return activeSides(state)
    .flatMap((side) => {
      const turn = state.turns[side].at(-1);
      if (!turn) return [];
      const name = state.compares ? `Side ${side.toUpperCase()}: ` : '';
      return [name + ending(turn, model.numLoops)];
    })
    .join(' ');
}

function ending(turn: Turn, numLoops: number): string {
  if (turn.status === 'failed') return turn.problem!.title;
  const { numTokens, meanDepth } = figuresOf(turn, numLoops);
  const what = turn.status === 'stopped' ? 'Stopped' : 'Answer complete';
  const size = `${counted(numTokens, 'token')}, mean depth ${decimal(meanDepth)} of ${numLoops}`;
  return `${what}: ${size}. ${textOf(turn, 'answer')}`;
}
