/** SVG text from elements: escaping, short numbers, and the few shapes that charts are made of. */
import type { Color } from './theme.js';
import { FONT } from './theme.js';

/** Undefined ones are left out. */
export type Attributes = Readonly<Record<string, string | number | undefined>>;

const ESCAPES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
};

function escapeXml(text: string): string {
  return text.replaceAll(/[&<>"]/g, (letter) => ESCAPES[letter]!);
}

/** A tenth of a pixel is as fine as anybody sees. */
export const short = (value: number): string => String(Math.round(value * 10) / 10);

/** An element with ready children. */
export function element(name: string, attributes: Attributes, ...children: string[]): string {
  const list = Object.entries(attributes)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => {
      const text = typeof value === 'number' ? short(value) : escapeXml(value!);
      return ` ${key}="${text}"`;
    })
    .join('');
  if (children.length === 0) return `<${name}${list}/>`;
  return `<${name}${list}>${children.join('')}</${name}>`;
}

/** A group whose shapes are painted in a colour by `currentColor`. */
export function painted(color: Color, attributes: Attributes, ...children: string[]): string {
  return element('g', { class: color.name, color: color.light, ...attributes }, ...children, '\n');
}

/** Text in a colour and size; `align` says which end of it stands at `x`, `y` is its baseline. */
export function label(
  text: string,
  place: {
    readonly x: number;
    readonly y: number;
    readonly size: number;
    readonly align?: 'start' | 'middle' | 'end';
    readonly weight?: 'bold';
  },
): string {
  const { x, y, size, align = 'start', weight } = place;
  const anchor = align === 'start' ? undefined : align;
  return element(
    'text',
    { x, y, 'font-size': size, 'text-anchor': anchor, 'font-weight': weight, fill: 'currentColor' },
    escapeXml(text),
  );
}

/** A path through points. */
export function polyline(points: readonly (readonly [x: number, y: number])[]): string {
  return points
    .map(([x, y], index) => `${index === 0 ? 'M' : 'L'}${short(x)} ${short(y)}`)
    .join('');
}

/** Straight lines, one path for all. */
export function segments(
  lines: readonly (readonly [x1: number, y1: number, x2: number, y2: number])[],
): string {
  const d = lines.map(([x1, y1, x2, y2]) =>
    polyline([
      [x1, y1],
      [x2, y2],
    ]),
  );
  return element('path', { d: d.join(''), stroke: 'currentColor', fill: 'none' });
}

/** The whole picture: its size, name, colours for both grounds, and ready contents. */
export function document(
  size: { readonly width: number; readonly height: number },
  title: string,
  colors: readonly Color[],
  ...children: string[]
): string {
  const { width, height } = size;
  const rules = [...new Map(colors.map(({ name, dark }) => [name, dark]))];
  const style = rules.map(([name, dark]) => `.${name}{color:${dark}}`).join('');
  return element(
    'svg',
    {
      xmlns: 'http://www.w3.org/2000/svg',
      width,
      height,
      viewBox: `0 0 ${short(width)} ${short(height)}`,
      role: 'img',
      'font-family': FONT,
    },
    element('title', {}, escapeXml(title)),
    element('style', {}, `@media (prefers-color-scheme: dark){${style}}`),
    '\n',
    ...children,
  );
}
