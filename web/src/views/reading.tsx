/** What is to be read of the answers: figures and their course, and one token in detail. */
import type { Session } from '../state/session.js';
import { activeSides, tokenAt } from '../state/state.js';
import { SIDES } from '../state/settings.js';
import type { ModelProps } from './page-props.js';
import { RunFigures } from './run-figures.js';
import { TokenDetail } from './token-detail.js';

/** Closes the detail; the focus goes back to the token that it was of. */
export function closeDetail(session: Session): void {
  const mark = document.querySelector<HTMLElement>('.token[aria-selected="true"]');
  session.dispatch({ type: 'select', place: undefined });
  mark?.focus();
}

export function Reading({ session, state, model }: ModelProps) {
  const { selected } = state;
  const token = selected && tokenAt(state, selected);
  const sides = activeSides(state);
  const isEmpty = SIDES.every((side) => state.turns[side].length === 0);
  if (isEmpty) return <aside class="reading is-empty" aria-label="Figures" />;
  return (
    <aside class="reading" aria-label="Figures">
      {selected && token ? (
        <TokenDetail
          token={token}
          settings={state.turns[selected.side][selected.turn]!.settings}
          numLoops={model.numLoops}
          onClose={() => closeDetail(session)}
        />
      ) : (
        <p class="hint">Select a token to see what every loop would have said.</p>
      )}
      <RunFigures model={model} sides={sides.map((side) => ({ side, turns: state.turns[side] }))} />
    </aside>
  );
}
