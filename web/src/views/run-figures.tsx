/** Mean depth, loops saved and speed: of the last answer as numbers, of all answers as lines. */
import type { Model } from '../api/token.js';
import type { Course, TurnFigures } from '../state/figures.js';
import { courseOf, figuresOf } from '../state/figures.js';
import type { Side } from '../state/settings.js';
import type { Turn } from '../state/state.js';
import { decimal, rounded, wholePercent } from './format.js';
import { Sparkline } from './sparkline.js';

interface SideTurns {
  readonly side: Side;
  readonly turns: readonly Turn[];
}

interface Figure {
  readonly name: string;
  readonly unit: string;
  read(figures: TurnFigures): string;
  course(course: Course): readonly number[];
  /** Undefined where the data decide. */
  readonly max?: number;
  readonly min: number;
}

const figuresFor = (numLoops: number): readonly Figure[] => [
  {
    name: 'Mean depth',
    unit: `of ${numLoops}`,
    read: ({ meanDepth }) => decimal(meanDepth),
    course: ({ meanDepth }) => meanDepth,
    min: 1,
    max: numLoops,
  },
  {
    name: 'Loops saved',
    unit: '',
    read: ({ savedFraction }) => wholePercent(savedFraction),
    course: ({ savedFraction }) => savedFraction,
    min: 0,
    max: 1,
  },
  {
    name: 'Speed',
    unit: 'tokens/s',
    read: ({ tokensPerSecond }) => rounded(tokensPerSecond),
    course: ({ tokensPerSecond }) => tokensPerSecond,
    min: 0,
  },
];

export function RunFigures({
  model: { numLoops },
  sides,
}: {
  readonly model: Model;
  readonly sides: readonly SideTurns[];
}) {
  const read = sides.map(({ side, turns }) => {
    const last = turns.at(-1);
    const figures = last && figuresOf(last, numLoops);
    return { side, figures, course: courseOf(turns, numLoops) };
  });
  const isPair = sides.length > 1;
  return (
    <section class="figures" aria-label="Figures of the last answer">
      <h2 class="unseen-text">Figures of the last answer</h2>
      {figuresFor(numLoops).map((figure) => (
        <div class="figure" key={figure.name}>
          <h3>{figure.name}</h3>
          <p class="figure-values">
            {read.map(({ side, figures }) => (
              <span key={side} class={`figure-value of-${side}`}>
                {isPair && <abbr title={`Side ${side.toUpperCase()}`}>{side.toUpperCase()}</abbr>}
                <b>{figures ? figure.read(figures) : '–'}</b> <small>{figure.unit}</small>
              </span>
            ))}
          </p>
          <Sparkline
            label={`${figure.name} along the tokens`}
            min={figure.min}
            max={figure.max}
            lines={read.map(({ side, course }) => ({ name: side, values: figure.course(course) }))}
          />
        </div>
      ))}
    </section>
  );
}
