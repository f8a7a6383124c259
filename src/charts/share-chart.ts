/** Shares as shaded cells with their percentage in them: columns of categories, a row for each class. */
import { scaleBand } from 'd3-scale';
import type { Axis } from './frame.js';
import { drawFrame } from './frame.js';
import { element, label, painted } from './svg.js';
import { INK, ON_SHADE, SHADE, TICK_SIZE } from './theme.js';

/** One panel; `shares[column][row]` are fractions, rows counted from below. */
export interface SharePanel {
  readonly name?: string;
  readonly columns: readonly string[];
  readonly rows: readonly string[];
  readonly shares: readonly (readonly number[])[];
}

export interface ShareChart {
  readonly title: string;
  readonly xName: string;
  readonly yName: string;
  readonly panels: readonly SharePanel[];
}

const ROW_HEIGHT = 46;
/** From this share on a cell is too strongly shaded for ordinary text. */
const STRONG_SHARE = 0.7;

/** SVG text of the chart. Shares that round to 0 % have no number. */
export function shareChart({ title, xName, yName, panels }: ShareChart): string {
  return drawFrame({
    title,
    plotHeight: ROW_HEIGHT * Math.max(...panels.map(({ rows }) => rows.length)),
    legend: [],
    colors: [SHADE, ON_SHADE],
    panels: panels.map(({ name, columns, rows, shares }) => {
      const [x, y] = [columns, rows].map((names) =>
        scaleBand(names, [0, 1]).paddingInner(0.04),
      ) as [Band, Band];
      return {
        name,
        x: bandAxis(xName, x),
        y: bandAxis(yName, y),
        paint({ left, top, width, height }) {
          return columns
            .flatMap((column, columnIndex) =>
              rows.map((row, rowIndex) =>
                paintCell(shares[columnIndex]![rowIndex] ?? 0, {
                  x: left + x(column)! * width,
                  y: top + (1 - y(row)! - y.bandwidth()) * height,
                  width: x.bandwidth() * width,
                  height: y.bandwidth() * height,
                }),
              ),
            )
            .join('');
        },
      };
    }),
  });
}

type Band = ReturnType<typeof scaleBand<string>>;

function bandAxis(name: string, band: Band): Axis {
  const ticks = band.domain().map((text) => ({ text, at: band(text)! + band.bandwidth() / 2 }));
  return { name, ticks, hasGrid: false };
}

function paintCell(
  share: number,
  cell: { readonly x: number; readonly y: number; readonly width: number; readonly height: number },
): string {
  const percent = Math.round(100 * share);
  const shaded = painted(
    SHADE,
    { 'fill-opacity': (0.05 + 0.95 * share).toFixed(2) },
    element('rect', { ...cell, rx: 2, fill: 'currentColor' }),
  );
  if (percent === 0) return shaded;
  const place = { x: cell.x + cell.width / 2, y: cell.y + cell.height / 2 + 4 };
  const text = label(String(percent), { ...place, size: TICK_SIZE - 1, align: 'middle' });
  const ink = share < STRONG_SHARE ? INK : ON_SHADE;
  return shaded + painted(ink, {}, text);
}
