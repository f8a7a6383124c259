/**
 * Colours of depths and the theme, set on the root of the document. Colours are those of the charts;
 * all others are in `styles/`.
 */
import { rampColors } from '../../../src/charts/theme.js';
import type { Theme } from '../state/address.js';

/** Pixels below a line of text that the deepest token takes. */
const STRATA_HEIGHT = 16;
/** A loop is a line of its own as long as it is this thick; below that the lines run together. */
const MIN_STRATUM = 3;

let shownLoops = 0;

/** Colours of the sign of looplm, `--mark-1` to `--mark-4`: it has four loops, whatever the model has. */
export function showMarkColors(): void {
  setColors('mark', 4);
}

function setColors(prefix: string, count: number): void {
  for (const [index, { light, dark }] of rampColors(count).entries()) {
    const value = `light-dark(${light}, ${dark})`;
    document.documentElement.style.setProperty(`--${prefix}-${index + 1}`, value);
  }
}

/** Sets `--depth-1` to `--depth-N`, and how high the mark of a loop is. */
export function showDepthColors(numLoops: number): void {
  if (numLoops === shownLoops) return;
  shownLoops = numLoops;
  const { style } = document.documentElement;
  setColors('depth', numLoops);
  const stratum = STRATA_HEIGHT / Math.max(4, numLoops);
  style.setProperty('--stratum', `${stratum}px`);
  style.setProperty('--stratum-gap', stratum >= MIN_STRATUM ? '1px' : '0px');
  style.setProperty('--strata-height', `${stratum * numLoops}px`);
}

/** The properties of something that is painted in the colour of a depth. */
export function depthStyle(depth: number): Record<string, string> {
  return { '--depth': String(depth), '--depth-color': `var(--depth-${depth})` };
}

export function showTheme(theme: Theme): void {
  const { dataset } = document.documentElement;
  if (theme === 'auto') delete dataset['theme'];
  else dataset['theme'] = theme;
}
