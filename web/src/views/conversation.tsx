/** The turns of each side, one column a side. Completions show the newest first. */
import { useLayoutEffect, useMemo, useRef } from 'preact/hooks';
import type { Comparison } from '../state/comparison.js';
import { compareTurns } from '../state/comparison.js';
import type { Side } from '../state/settings.js';
import { settingsLine, settingsOf } from '../state/settings.js';
import { activeSides } from '../state/state.js';
import type { ModelProps } from './page-props.js';
import { ComparisonLine } from './comparison-line.js';
import { Legend } from './legend.js';
import { TurnView } from './turn-view.js';

export function Conversation({ session, state, model }: ModelProps) {
  const sides = activeSides(state);
  const [lastA, lastB] = [state.turns.a.at(-1), state.turns.b.at(-1)];
  const comparison = useMemo(() => {
    if (!state.compares || !lastA || !lastB) return undefined;
    if (lastA.status === 'running' || lastB.status === 'running') return undefined;
    return compareTurns(lastA, lastB, model.numLoops);
  }, [state.compares, lastA, lastB, model]);
  return (
    <>
      {comparison && <ComparisonLine comparison={comparison} a={lastA!} b={lastB!} />}
      <Legend
        numLoops={model.numLoops}
        {...(state.compares ? {} : { tokens: lastA?.tokens ?? [] })}
      />
      <div class="sides">
        {sides.map((side) => (
          <section key={side} class="side" aria-label={sides.length > 1 ? nameOf(side) : 'Answers'}>
            {sides.length > 1 && (
              <header class={`side-head of-${side}`}>
                <h2>{side.toUpperCase()}</h2>
                <button
                  type="button"
                  class="side-settings"
                  onClick={() => session.dispatch({ type: 'edit', side })}
                >
                  <span class="unseen-text">Set side {side.toUpperCase()}: </span>
                  {settingsLine(settingsOf(model, side, state), model)}
                </button>
              </header>
            )}
            <Turns session={session} state={state} model={model} side={side} {...{ comparison }} />
          </section>
        ))}
      </div>
      {state.mode === 'chat' && <ChatEnd count={state.turns.a.length} />}
    </>
  );
}

/** How far below the window the end of a chat may be and still be followed, in pixels. */
const FOLLOW_WITHIN = 240;

/** The end of a chat, kept in sight as it grows, unless somebody has scrolled away from it. */
function ChatEnd({ count }: { readonly count: number }) {
  const end = useRef<HTMLDivElement>(null);
  const shownCount = useRef(count);
  useLayoutEffect(() => {
    const isNew = count !== shownCount.current;
    shownCount.current = count;
    const below = end.current!.getBoundingClientRect().top - innerHeight;
    if (isNew || (below > -FOLLOW_WITHIN && below < FOLLOW_WITHIN)) {
      end.current!.scrollIntoView({ block: 'end' });
    }
  });
  return <div ref={end} class="chat-end" />;
}

const nameOf = (side: Side) => `Side ${side.toUpperCase()}`;

function Turns({
  session,
  state,
  model,
  side,
  comparison,
}: ModelProps & {
  readonly side: Side;
  readonly comparison: Comparison | undefined;
}) {
  const turns = state.turns[side];
  const { selected } = state;
  const views = turns.map((turn, index) => (
    <TurnView
      key={index}
      turn={turn}
      numLoops={model.numLoops}
      isLast={index === turns.length - 1}
      selected={selected?.side === side && selected.turn === index ? selected.token : undefined}
      marked={index === turns.length - 1 ? comparison?.only[side] : undefined}
      onSelect={(token, byKey) => {
        session.dispatch({ type: 'select', place: { side, turn: index, token } });
        if (byKey) document.getElementById('detail')?.focus();
      }}
      onRetry={() => void session.run(turn.prompt)}
    />
  ));
  return <>{state.mode === 'completion' ? views.toReversed() : views}</>;
}
