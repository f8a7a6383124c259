/** How a line looks: colour, marker, dashes; and its sign in the legend. */
import type { Area } from './frame.js';
import { element, painted, polyline, short } from './svg.js';
import type { Color } from './theme.js';
import { rampColors, REFERENCE, SERIES } from './theme.js';

type Point = readonly [x: number, y: number];
/** The outline of a marker as path data. */
type Marker = (x: number, y: number) => string;

export interface LineStyle {
  readonly color: Color;
  readonly marker?: Marker | undefined;
  readonly isDashed?: boolean;
}

/** Outlines of about the same area. */
const MARKERS: readonly Marker[] = [
  (x, y) => `M${short(x - 3.5)} ${short(y)}a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z`,
  (x, y) => `M${short(x - 3.1)} ${short(y - 3.1)}h6.2v6.2h-6.2z`,
  (x, y) => `M${short(x)} ${short(y - 4.3)}l4.3 7.4h-8.6z`,
  (x, y) => `M${short(x)} ${short(y - 4.6)}l4.6 4.6l-4.6 4.6l-4.6 -4.6z`,
];

/** A point that stands alone. */
const STAR: Marker = (x, y) => `M${short(x)} ${short(y - 7)}l2 5l5 2l-5 2l-2 5l-2 -5l-5 -2l5 -2z`;

export const REFERENCE_STYLE: LineStyle = { color: REFERENCE, isDashed: true };

/** A style for each of `count` lines; ordered ones have colours with an order. */
export function lineStyles(
  count: number,
  { isOrdered, hasMarkers }: { readonly isOrdered: boolean; readonly hasMarkers: boolean },
): readonly LineStyle[] {
  const colors = isOrdered ? rampColors(count) : SERIES;
  return Array.from({ length: count }, (_, index) => {
    // Lines that share a colour, where there are more than colours, do not share a marker.
    const marker = MARKERS[(index + Math.floor(index / colors.length)) % MARKERS.length];
    return { color: colors[index % colors.length]!, marker: hasMarkers ? marker : undefined };
  });
}

/** A line through points in pixels, with its marker on some of them; one point alone is a star. */
export function paintLine(
  style: LineStyle,
  points: readonly Point[],
  marked: readonly Point[] = points,
): string {
  const { color, marker, isDashed = false } = style;
  if (points.length === 1) return painted(color, {}, markers(STAR, points));
  const line = element('path', {
    d: polyline(points),
    fill: 'none',
    stroke: 'currentColor',
    'stroke-width': marker ? 2 : 1.5,
    'stroke-linejoin': 'round',
    'stroke-dasharray': isDashed ? '5 4' : undefined,
  });
  return painted(color, {}, line, ...(marker ? [markers(marker, marked)] : []));
}

/** What lies between two edges, faintly, such that lines are seen through it; nothing without points. */
export function paintBand(
  { color }: LineStyle,
  low: readonly Point[],
  high: readonly Point[],
): string {
  if (low.length === 0 || high.length === 0) return '';
  const d = `${polyline([...high, ...low.toReversed()])}z`;
  return painted(color, {}, element('path', { d, fill: 'currentColor', 'fill-opacity': '0.16' }));
}

/** The sign of a line in the legend. */
export function paintSwatch(style: LineStyle, isPoint: boolean, area: Area): string {
  const { left, top, width, height } = area;
  const middle = [left + width / 2, top + height / 2] as const;
  const ends = [
    [left, middle[1]],
    [left + width, middle[1]],
  ] as const;
  return paintLine(style, isPoint ? [middle] : ends, [middle]);
}

function markers(marker: Marker, points: readonly Point[]): string {
  const d = points.map(([x, y]) => marker(x, y)).join('');
  return element('path', { d, fill: 'currentColor' });
}
