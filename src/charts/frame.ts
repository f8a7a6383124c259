/**
 * What all charts share: title, legend, and panels side by side in rows, each with named axes.
 *
 * The one idea: every part has a band of its own, from top to bottom, as high as what stands in it;
 * so nothing overlaps, however many names a legend has. Knows neither lines nor cells: a panel paints
 * its own plot.
 */
import { document, element, label, painted, segments } from './svg.js';
import type { Color } from './theme.js';
import {
  AXIS,
  BORDER,
  GRID,
  GROUND,
  INK,
  MUTED,
  TEXT_SIZE,
  textWidth,
  TICK_SIZE,
  TITLE_SIZE,
} from './theme.js';

const WIDTH = 800;
const MARGIN = 24;
const PANEL_GAP = 36;
const TITLE_BAND = 34;
const LEGEND_ROW = 24;
const PANEL_NAME_BAND = 24;
const Y_NAME_BAND = 24;
const TICK_BAND = 24;
const X_NAME_BAND = 22;
const SWATCH_WIDTH = 26;
const LEGEND_GAP = 22;
const TICK_GAP = 8;

/** Where something may be painted, in pixels of the picture. */
export interface Area {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

/** A labelled place on an axis; `at` is a fraction of its length, from the left or from below. */
export interface Tick {
  readonly at: number;
  readonly text: string;
}

/** One axis: its name, and what it says where. */
export interface Axis {
  readonly name: string;
  readonly ticks: readonly Tick[];
  readonly hasGrid: boolean;
}

/** One coordinate system of a chart. */
export interface Panel {
  /** Above the panel; for charts of several panels. */
  readonly name?: string | undefined;
  readonly x: Axis;
  readonly y: Axis;
  /** SVG of what is plotted. */
  paint(area: Area): string;
}

/** An entry of the legend; `swatch` paints its sign around the middle of an area. */
export interface LegendEntry {
  readonly name: string;
  swatch(area: Area): string;
}

export interface Frame {
  readonly title: string;
  /** Height of the panels' plots in pixels. */
  readonly plotHeight: number;
  readonly legend: readonly LegendEntry[];
  readonly panels: readonly Panel[];
  /** Colours that the panels use. */
  readonly colors: readonly Color[];
}

/** The legend's entries in as many rows as they need. */
function legendRows(legend: readonly LegendEntry[]) {
  const rows: { readonly entry: LegendEntry; readonly left: number }[][] = [];
  let left = Infinity;
  for (const entry of legend) {
    const width = SWATCH_WIDTH + textWidth(entry.name, TEXT_SIZE);
    if (left + width > WIDTH - MARGIN) {
      rows.push([]);
      left = MARGIN;
    }
    rows.at(-1)!.push({ entry, left });
    left += width + LEGEND_GAP;
  }
  return rows;
}

function paintLegend(rows: ReturnType<typeof legendRows>, top: number): string {
  return rows
    .flatMap((row, index) =>
      row.map(({ entry, left }) => {
        const area = { left, top: top + index * LEGEND_ROW, width: 20, height: LEGEND_ROW };
        const place = { x: left + SWATCH_WIDTH, y: area.top + LEGEND_ROW / 2 + 4.5 };
        const name = painted(INK, {}, label(entry.name, { ...place, size: TEXT_SIZE }));
        return entry.swatch(area) + name;
      }),
    )
    .join('');
}

const widest = (ticks: readonly Tick[]) =>
  Math.max(0, ...ticks.map(({ text }) => textWidth(text, TICK_SIZE)));

/** Those of rising ticks that stand at least `room` pixels apart on an axis of `length`. */
function withRoom(ticks: readonly Tick[], length: number, room: number): readonly Tick[] {
  let last = -Infinity;
  return ticks.filter(({ at }) => {
    if (at * length - last < room) return false;
    last = at * length;
    return true;
  });
}

/** Grid and axes, then the plot on them, then its texts. */
function paintPanel({ name, x, y, paint }: Panel, area: Area): string {
  const { left, top, width, height } = area;
  const [right, bottom] = [left + width, top + height];
  const columns = withRoom(x.ticks, width, widest(x.ticks) + TICK_GAP / 2).map(({ at, text }) => ({
    text,
    x: left + at * width,
  }));
  const rows = withRoom(y.ticks, height, 1.2 * TICK_SIZE).map(({ at, text }) => ({
    text,
    y: bottom - at * height,
  }));
  const grid = [
    ...(x.hasGrid ? columns.map(({ x: at }) => [at, top, at, bottom] as const) : []),
    ...(y.hasGrid ? rows.map(({ y: at }) => [left, at, right, at] as const) : []),
  ];
  const axis = [
    [left, bottom, right, bottom] as const,
    ...columns.map(({ x: at }) => [at, bottom, at, bottom + 5] as const),
  ];
  const size = TICK_SIZE;
  const texts = [
    label(y.name, { x: left, y: top - 12, size }),
    ...rows.map((row) => label(row.text, { x: left - TICK_GAP, y: row.y + 4, size, align: 'end' })),
    ...columns.map((column) =>
      label(column.text, { x: column.x, y: bottom + 19, size, align: 'middle' }),
    ),
    label(x.name, { x: left + width / 2, y: bottom + TICK_BAND + 14, size, align: 'middle' }),
  ];
  const place = { x: left, y: top - Y_NAME_BAND - 4 };
  return [
    ...(grid.length > 0 ? [painted(GRID, {}, segments(grid))] : []),
    painted(AXIS, {}, segments(axis)),
    paint(area),
    painted(MUTED, {}, ...texts),
    ...(name === undefined
      ? []
      : [painted(INK, {}, label(name, { ...place, size: TEXT_SIZE + 1, weight: 'bold' }))]),
  ].join('');
}

/** More than these are hard to read side by side. */
const MAX_PANELS_PER_ROW = 4;

/** Panels side by side: rows are about equally long. */
export function panelsPerRow(count: number): number {
  return Math.ceil(count / Math.ceil(count / MAX_PANELS_PER_ROW));
}

/** SVG text of a chart: a card with a ground of its own, so that it is read on any page. */
export function drawFrame({ title, plotHeight, legend, panels, colors }: Frame): string {
  const rows = legendRows(legend);
  const hasNames = panels.some(({ name }) => name !== undefined);
  const legendTop = MARGIN - 4 + TITLE_BAND;
  const top =
    legendTop +
    rows.length * LEGEND_ROW +
    (rows.length > 0 ? 8 : 0) +
    (hasNames ? PANEL_NAME_BAND : 0) +
    Y_NAME_BAND;
  const below = TICK_BAND + X_NAME_BAND + 12;
  const perRow = panelsPerRow(panels.length);
  const rowHeight = plotHeight + below + (hasNames ? PANEL_NAME_BAND : 0) + Y_NAME_BAND;
  const height = top + plotHeight + below + (Math.ceil(panels.length / perRow) - 1) * rowHeight;
  const labelWidth = TICK_GAP + Math.max(...panels.map(({ y }) => widest(y.ticks)));
  const lastLabel = Math.max(...panels.map(({ x }) => widest(x.ticks)));
  const overhang = Math.max(0, (lastLabel - MARGIN) / 2);
  const pitch = (WIDTH - 2 * MARGIN + PANEL_GAP) / perRow;
  const card = { x: 0.5, y: 0.5, width: WIDTH - 1, height: height - 1, rx: 8 };
  return document(
    { width: WIDTH, height },
    title,
    [GROUND, BORDER, GRID, AXIS, INK, MUTED, ...colors],
    painted(GROUND, {}, element('rect', { ...card, fill: 'currentColor' })),
    painted(BORDER, {}, element('rect', { ...card, fill: 'none', stroke: 'currentColor' })),
    painted(INK, {}, label(title, { x: MARGIN, y: MARGIN + 14, size: TITLE_SIZE, weight: 'bold' })),
    paintLegend(rows, legendTop),
    ...panels.map((panel, index) =>
      paintPanel(panel, {
        left: MARGIN + (index % perRow) * pitch + labelWidth,
        top: top + Math.floor(index / perRow) * rowHeight,
        width: pitch - PANEL_GAP - labelWidth - overhang,
        height: plotHeight,
      }),
    ),
  );
}
