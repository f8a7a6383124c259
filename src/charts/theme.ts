/**
 * Colours and fonts of all charts, on a light and on a dark ground.
 *
 * The one idea: everything is painted in `currentColor`, inside a group whose class is a colour's
 * name; the light value is an attribute, the dark one a rule that holds where the reader prefers dark.
 * So a picture follows its reader, and programs that know no such rule show the light one. Lines
 * also differ by marker: not everybody sees all eight colours apart.
 * Source: hues after Okabe and Ito, jfly.uni-koeln.de/color, made darker to be seen on white.
 */
import { scaleLinear } from 'd3-scale';

/** A colour by its name, which is a class of the picture; values are `#rrggbb`. */
export interface Color {
  readonly name: string;
  readonly light: string;
  readonly dark: string;
}

const color = (name: string, light: string, dark: string): Color => ({ name, light, dark });

export const GROUND = color('ground', '#ffffff', '#0d1117');
export const BORDER = color('border', '#d8dee4', '#30363d');
export const GRID = color('grid', '#e6e9ed', '#262c34');
export const AXIS = color('axis', '#8c959f', '#6e7681');
export const INK = color('ink', '#1f2328', '#e6edf3');
/** Tick labels and names of axes. */
export const MUTED = color('muted', '#57606a', '#9ba5b0');
/** A line that others are held against. */
export const REFERENCE = color('reference', '#6e7781', '#8b949e');

/** Colours of things without an order. */
export const SERIES: readonly Color[] = [
  color('blue', '#0072b2', '#4ba3e3'),
  color('orange', '#d55e00', '#f28b3b'),
  color('green', '#00875f', '#2cc295'),
  color('pink', '#b5489a', '#e58fcb'),
  color('ochre', '#8f6b00', '#dfbf3f'),
  color('sky', '#2590d6', '#9bdcff'),
  color('grey', '#6e7781', '#8b949e'),
  color('ink-line', '#1f2328', '#e6edf3'),
];

/** What shares are shaded with; the ground shows through. */
export const SHADE = color('shade', '#0a5a9c', '#1f6feb');
/** Text on it, where it is strong. */
export const ON_SHADE = color('on-shade', '#ffffff', '#ffffff');

// each is further from its ground than the one before, and lighter or darker for every kind of eye
const RAMP_LIGHT = ['#c97d00', '#c01a41', '#7c33ad', '#1e2661'];
const RAMP_DARK = ['#8f6012', '#dc5a72', '#c596f7', '#d5eeff'];

/** Colours of `count` things with an order, such as depths, from the first to the last. */
export function rampColors(count: number): readonly Color[] {
  const along = (colors: readonly string[]) =>
    scaleLinear<string>()
      .domain(colors.map((_, index) => index / (colors.length - 1)))
      .range(colors);
  const [light, dark] = [along(RAMP_LIGHT), along(RAMP_DARK)];
  return Array.from({ length: count }, (_, index) => {
    const place = count === 1 ? 1 : index / (count - 1);
    return color(`depth-${index + 1}`, hex(light(place)), hex(dark(place)));
  });
}

/** `rgb(1, 2, 3)` as `#010203`. */
function hex(rgb: string): string {
  const parts = rgb.match(/\d+/g)!.map((part) => Number(part).toString(16).padStart(2, '0'));
  return `#${parts.join('')}`;
}

export const FONT = "system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif";
export const TITLE_SIZE = 17;
export const TEXT_SIZE = 13;
export const TICK_SIZE = 12;

/** Width in pixels that a text takes in common sans-serif fonts, rather too much than too little. */
export function textWidth(text: string, fontSize: number): number {
  const units = Array.from(text).reduce((sum, letter) => {
    if (/[ijlI.,:;'|!() ]/.test(letter)) return sum + 0.33;
    if (/[mwMW%@]/.test(letter)) return sum + 0.9;
    return sum + (/[A-Z]/.test(letter) ? 0.72 : 0.58);
  }, 0);
  return units * fontSize;
}
