/** A small line for each side over the tokens so far, without axes; its last value is a dot. */

const WIDTH = 240;
const HEIGHT = 36;
const MARGIN = 4;
/** The line of a short answer does not fill the width: it grows into it. */
const MIN_TOKENS = 8;

export interface SparkLine {
  /** Names its look: side b is dashed. */
  readonly name: string;
  /** One for each token; not finite where there is none. */
  readonly values: readonly number[];
}

export function Sparkline({
  label,
  lines,
  min,
  max,
}: {
  readonly label: string;
  readonly lines: readonly SparkLine[];
  readonly min: number;
  readonly max: number | undefined;
}) {
  const all = lines.flatMap(({ values }) => values.filter(Number.isFinite));
  const top = max ?? all.reduce((most, value) => Math.max(most, value), min + 1);
  const length = Math.max(MIN_TOKENS, ...lines.map(({ values }) => values.length));
  const x = (index: number) => MARGIN + (index / (length - 1)) * (WIDTH - 2 * MARGIN);
  const y = (value: number) =>
    HEIGHT - MARGIN - ((value - min) / (top - min)) * (HEIGHT - 2 * MARGIN);
  return (
    <svg class="sparkline" viewBox={`0 0 ${WIDTH} ${HEIGHT}`} preserveAspectRatio="none" role="img">
      <title>{label}</title>
      <path class="sparkline-ground" d={`M${MARGIN} ${y(min)}H${WIDTH - MARGIN}`} />
      {lines.map(({ name, values }) => (
        <g key={name} class={`sparkline-line of-${name}`}>
          <path d={pathOf(values, x, y)} />
          <path class="sparkline-dot" d={dotOf(values, x, y)} />
        </g>
      ))}
    </svg>
  );
}

type Place = (value: number) => number;

const short = (value: number) => String(Math.round(10 * value) / 10);

function pathOf(values: readonly number[], x: Place, y: Place): string {
  let isDown = false;
  return values
    .map((value, index) => {
      if (!Number.isFinite(value)) {
        isDown = false;
        return '';
      }
      const command = isDown ? 'L' : 'M';
      isDown = true;
      return `${command}${short(x(index))} ${short(y(value))}`;
    })
    .join('');
}

/** A line without length: its round end is a dot, whatever the picture is stretched to. */
function dotOf(values: readonly number[], x: Place, y: Place): string {
  const index = values.findLastIndex(Number.isFinite);
  return index < 0 ? '' : `M${short(x(index))} ${short(y(values[index]!))}h0`;
}
