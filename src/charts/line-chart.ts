/**
 * Lines through measured points, in one panel or several with a common legend.
 *
 * Lines are straight from point to point: what was not measured is not drawn.
 */
import type { Area, Panel } from './frame.js';
import { drawFrame, panelsPerRow } from './frame.js';
import type { LineStyle } from './line-style.js';
import { lineStyles, paintBand, paintLine, paintSwatch, REFERENCE_STYLE } from './line-style.js';
import type { Scale } from './scale.js';
import { fitScale } from './scale.js';

/** A line by its name, which is the same in every panel. */
export interface Line {
  readonly name: string;
  /** Points that a scale cannot show are left out. */
  readonly points: readonly (readonly [x: number, y: number])[];
  /** Shaded behind the lines, such as a spread around the mean. */
  readonly band?: readonly (readonly [x: number, low: number, high: number])[];
  /** Dashed, grey and without markers: what others are held against, such as an ideal. */
  readonly isReference?: boolean;
}

export interface LinePanel {
  readonly name?: string;
  readonly x: Scale;
  readonly y: Scale;
  readonly lines: readonly Line[];
}

export interface LineChart {
  readonly title: string;
  readonly panels: readonly LinePanel[];
  /** Whether the lines have an order, such as depths; then their colours have one. */
  readonly isOrdered?: boolean;
  /** Default true; false for lines of very many points. */
  readonly hasMarkers?: boolean;
}

const PLOT_HEIGHT = 280;
/** Of all panels, about; for the number of ticks. */
const PLOT_WIDTH = 700;
/** Pixels between ticks, about. */
const X_PITCH = 75;
const Y_PITCH = 50;

/** SVG text of the chart. Lines of one name look alike in all panels. */
export function lineChart(chart: LineChart): string {
  const { title, panels, isOrdered = false, hasMarkers = true } = chart;
  const lines = new Map(panels.flatMap((panel) => panel.lines).map((line) => [line.name, line]));
  const names = [...lines.values()].filter(({ isReference }) => !isReference);
  const own = lineStyles(names.length, { isOrdered, hasMarkers });
  const styles = new Map(names.map(({ name }, index) => [name, own[index]!]));
  const styleOf = ({ name }: Line) => styles.get(name) ?? REFERENCE_STYLE;
  return drawFrame({
    title,
    plotHeight: PLOT_HEIGHT,
    colors: [...lines.values()].map((line) => styleOf(line).color),
    legend: [...lines.values()].map((line) => ({
      name: line.name,
      swatch: (area) => paintSwatch(styleOf(line), line.points.length === 1, area),
    })),
    panels: panels.map((panel) =>
      framePanel(panel, styleOf, PLOT_WIDTH / panelsPerRow(panels.length)),
    ),
  });
}

function framePanel(
  { name, x: xScale, y: yScale, lines }: LinePanel,
  styleOf: (line: Line) => LineStyle,
  width: number,
): Panel {
  const points = lines.flatMap((line) => [...line.points, ...edges(line).flat()]);
  const x = fitScale(
    xScale,
    points.map(([value]) => value),
    width / X_PITCH,
  );
  const y = fitScale(
    yScale,
    points.map(([, value]) => value),
    PLOT_HEIGHT / Y_PITCH,
  );
  const placed = (of: Line['points'], area: Area) =>
    of
      .map(
        ([atX, atY]) =>
          [
            area.left + x.place(atX) * area.width,
            area.top + (1 - y.place(atY)) * area.height,
          ] as const,
      )
      .filter((point) => point.every(Number.isFinite));
  return {
    name,
    x: x.axis,
    y: y.axis,
    paint: (area) =>
      [
        ...lines.map((line) => {
          const [low, high] = edges(line);
          return paintBand(styleOf(line), placed(low, area), placed(high, area));
        }),
        ...lines.map((line) => paintLine(styleOf(line), placed(line.points, area))),
      ].join(''),
  };
}

/** The lower and the upper edge of a line's band; empty without one. */
const edges = ({ band = [] }: Line) =>
  [
    band.map(([x, low]) => [x, low] as const),
    band.map(([x, , high]) => [x, high] as const),
  ] as const;
