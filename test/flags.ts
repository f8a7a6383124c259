/** Flags of the scripts of tests. A mistake in them ends the process, before anything is tried. */
import { countFlag, orEnd, readArguments } from '../recipes/run-script.js';

type Defaults = Readonly<Record<string, number | string | undefined>>;
type Flags<D extends Defaults> = {
  readonly [K in keyof D]: D[K] extends number
    ? number
    : D[K] extends string
      ? string
      : number | undefined;
};

/**
 * Reads `--NAME VALUE` for each default: a text where the default is one, a whole number from 1 up where that
 * is one, and an index from 0 up, or nothing, where it is undefined.
 */
export function readFlags<const D extends Defaults>(defaults: D): Flags<D> {
  return orEnd(() => {
    const options = Object.fromEntries(
      Object.keys(defaults).map((name) => [name, { type: 'string' as const }]),
    );
    const { values } = readArguments({ options });
    const entries = Object.entries(defaults).map(([name, usual]) => {
      const given = values[name];
      return [
        name,
        typeof usual === 'string'
          ? (given ?? usual)
          : countFlag(name, given, usual, usual === undefined ? 0 : 1),
      ];
    });
    return Object.fromEntries(entries) as Flags<D>;
  });
}
