/** Numbers and tokens as people read them. */

export const percent = (fraction: number): string => {
  if (!Number.isFinite(fraction)) return '–';
  if (fraction > 0 && fraction < 0.001) return '< 0.1 %';
  const value = 100 * fraction;
  return `${value >= 99.95 || value === 0 ? value.toFixed(0) : value.toFixed(1)} %`;
};

export const wholePercent = (fraction: number): string =>
  Number.isFinite(fraction) ? `${Math.round(100 * fraction)} %` : '–';

export const decimal = (value: number, digits = 2): string =>
  Number.isFinite(value) ? value.toFixed(digits) : '–';

/** A rate or a count, with three digits that count. */
export const rounded = (value: number): string => {
  if (!Number.isFinite(value)) return '–';
  return value >= 100
    ? Math.round(value).toLocaleString('en')
    : String(Number(value.toPrecision(3)));
};

export const counted = (count: number, noun: string): string =>
  `${count.toLocaleString('en')} ${noun}${count === 1 ? '' : 's'}`;

/** The name of a token for the eye: spaces and line ends that would not be seen have a sign. */
export const seen = (name: string): string =>
  name.replaceAll(' ', '␣').replaceAll('\n', '↵').replaceAll('\t', '⇥');

/** The name of a token for the ear. */
export const spoken = (name: string): string => {
  if (name.trim() !== '') return name.trim();
  return name.includes('\n') ? 'line break' : 'space';
};
