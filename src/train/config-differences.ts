/** How the settings of two runs differ, for people. */
import { showValue } from '../util/quote.js';

/** A setting that two runs do not share. */
interface Difference {
  readonly path: string;
  readonly saved: unknown;
  readonly wanted: unknown;
}

/** Differences that are told one by one. */
const MAX_SHOWN = 5;

const showSetting = (value: unknown) => (value === undefined ? 'absent' : showValue(value));

/**
 * What differs between settings as they were saved and as they are now; undefined if nothing does.
 *
 * @param saved - a JSON value
 */
export function describeDifferences(
  saved: unknown,
  settings: object,
): { readonly first: string; readonly text: string } | undefined {
  const different = differences(saved, JSON.parse(JSON.stringify(settings)));
  const [first] = different;
  if (first === undefined) return undefined;
  const shown = different
    .slice(0, MAX_SHOWN)
    .map((it) => `${it.path} was ${showSetting(it.saved)} and is ${showSetting(it.wanted)}`);
  const more = different.length > MAX_SHOWN ? ` and ${different.length - MAX_SHOWN} more` : '';
  return { first: first.path, text: `${shown.join(', ')}${more}` };
}

/** All places at which two JSON values differ. */
function differences(saved: unknown, wanted: unknown, path = ''): readonly Difference[] {
  if (
    typeof saved === 'object' &&
    typeof wanted === 'object' &&
    saved !== null &&
    wanted !== null
  ) {
    const [a, b] = [saved, wanted] as [Record<string, unknown>, Record<string, unknown>];
    return [...new Set([...Object.keys(a), ...Object.keys(b)])].flatMap((key) =>
      differences(a[key], b[key], path ? `${path}.${key}` : key),
    );
  }
  return saved === wanted ? [] : [{ path, saved, wanted }];
}
