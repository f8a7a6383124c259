/**
 * What operations of Jinja cost, told before they are done: a single one can make a text of any length
 * out of two short ones. Costs are upper bounds in the units of `TemplateWork`.
 *
 * Knows the values of the jinja package and how it works on them, and no nodes.
 */
import type { JinjaValue } from './jinja-package.js';
import type { TemplateWork } from './jinja-work.js';
import { COPY_UNITS, ENTRY_UNITS, NODE_UNITS } from './jinja-work.js';

/** What a filter or a method is called with. */
export interface JinjaArguments {
  readonly positional: readonly JinjaValue[];
  readonly keywords: ReadonlyMap<string, JinjaValue>;
}

/** Naive search compares at most this many characters in the time that one takes to be copied. */
const COMPARED_PER_UNIT = 32;
/** JSON writes a control character, and if asked to any that is not ASCII, as `\u0000`. */
const ESCAPED_LENGTH = 6;

const contentOf = (value: JinjaValue | undefined): unknown => value?.value;
const textOf = (value: JinjaValue | undefined): string => {
  const content = contentOf(value);
  return typeof content === 'string' ? content : '';
};
const argumentOf = (
  { positional, keywords }: JinjaArguments,
  index: number,
  name: string,
): JinjaValue | undefined => positional[index] ?? keywords.get(name);

/** How a value is printed, in characters for each value inside. */
interface Padding {
  /** Of each level. */
  readonly indent: number;
  /** Between entries, and between key and value. */
  readonly separators: number;
}

const NO_PADDING: Padding = { indent: 0, separators: 0 };

/** Spends what it takes to print a value: parts that occur several times are printed each time. */
export function spendPrinted(value: JinjaValue, work: TemplateWork): void {
  const content = contentOf(value);
  if (typeof content === 'string') work.spend(content.length);
  else spendJson(value, work);
}

function spendJson(
  value: JinjaValue,
  work: TemplateWork,
  padding: Padding = NO_PADDING,
  level = 1,
): void {
  work.spend(NODE_UNITS + padding.separators + padding.indent * level);
  const content = contentOf(value);
  const inside = (entry: JinjaValue) =>
    work.deeper(() => spendJson(entry, work, padding, level + 1));
  if (typeof content === 'string') {
    work.spend(ESCAPED_LENGTH * content.length);
  } else if (Array.isArray(content)) {
    content.forEach(inside);
  } else if (content instanceof Map) {
    for (const [key, entry] of content as Map<string, JinjaValue>) {
      work.spend(ESCAPED_LENGTH * key.length);
      inside(entry);
    }
  }
}

/** Spends what `left operator right` costs. */
export function spendBinary(
  operator: string,
  left: JinjaValue,
  right: JinjaValue,
  work: TemplateWork,
): void {
  const [a, b] = [contentOf(left), contentOf(right)];
  if (operator === 'in' || operator === 'not in') {
    if (typeof a === 'string' && typeof b === 'string') spendSearch(b, a, work);
    else if (Array.isArray(b)) spendComparisons(b as JinjaValue[], a, work);
  } else if (typeof a === 'string' && typeof b === 'string') {
    const isEquality = operator === '==' || operator === '!=';
    if (!isEquality) work.spend(a.length + b.length);
    else if (a.length === b.length) work.spend(a.length);
  } else if (operator === '+' && Array.isArray(a) && Array.isArray(b)) {
    work.spend(COPY_UNITS * (a.length + b.length));
  } else if (operator === '~' || isText(a) || isText(b)) {
    // a list beside a text becomes a text, even to be compared
    spendPrinted(left, work);
    spendPrinted(right, work);
  }
}

const isText = (content: unknown): boolean => typeof content === 'string';

function spendSearch(text: string, part: string, work: TemplateWork): void {
  work.spend(text.length * (1 + part.length / COMPARED_PER_UNIT));
}

function spendComparisons(list: readonly JinjaValue[], wanted: unknown, work: TemplateWork): void {
  work.spend(COPY_UNITS * list.length);
  if (typeof wanted !== 'string') return;
  work.spend(wanted.length * list.filter((entry) => textOf(entry).length === wanted.length).length);
}

type Spend<T> = (content: T, args: JinjaArguments, work: TemplateWork) => void;

const free = () => {};
const table = <T>(entries: Readonly<Record<string, Spend<T>>>): ReadonlyMap<string, Spend<T>> =>
  new Map(Object.entries(entries));

/** Filters and methods of a text; any other reads it once. */
const TEXT_COSTS = table<string>({
  length: free,
  safe: free,
  string: free,
  default: free,
  // some letters become three
  upper: (text, _, work) => work.spend(3 * text.length),
  lower: (text, _, work) => work.spend(3 * text.length),
  title: (text, _, work) => work.spend(COPY_UNITS * text.length),
  startswith: (_, { positional }, work) => positional.forEach((part) => spendPrinted(part, work)),
  endswith: (_, { positional }, work) => positional.forEach((part) => spendPrinted(part, work)),
  split(text, { positional }, work) {
    const separator = textOf(positional[0]);
    // without a separator it is white space, at most every second character
    const numParts = separator === '' ? text.length / 2 : countOf(text, separator, work) + 1;
    work.spend(text.length + ENTRY_UNITS * numParts);
  },
  replace(text, { positional }, work) {
    const [part, other] = [textOf(positional[0]), textOf(positional[1])];
    const found = part === '' ? text.length + 1 : countOf(text, part, work);
    work.spend(text.length + found * (NODE_UNITS + other.length));
  },
  join(text, args, work) {
    const separator = textOf(argumentOf(args, 0, 'separator'));
    work.spend(text.length * (COPY_UNITS + separator.length));
  },
  indent(text, args, work) {
    const width = Number(contentOf(argumentOf(args, 0, 'width')) ?? 4);
    const numLines = countOf(text, '\n', work) + 1;
    work.spend(text.length + numLines * (NODE_UNITS + Math.max(0, width)));
  },
});

/** How often a text holds a part that is not empty. */
function countOf(text: string, part: string, work: TemplateWork): number {
  spendSearch(text, part, work);
  let count = 0;
  for (let at = text.indexOf(part); at >= 0; at = text.indexOf(part, at + part.length)) count += 1;
  return count;
}

/** Filters of a list; any other copies it. */
const LIST_COSTS = table<readonly JinjaValue[]>({
  length: free,
  safe: free,
  list: free,
  first: free,
  last: free,
  default: free,
  string: (list, _, work) => list.forEach((entry) => spendJson(entry, work)),
  unique: (list, _, work) => list.forEach((entry) => spendLookAt(entry, work)),
  join(list, args, work) {
    const separator = textOf(argumentOf(args, 0, 'separator'));
    work.spend(list.length * (COPY_UNITS + separator.length));
    list.forEach((entry) => spendPrinted(entry, work));
  },
  sort: (list, args, work) =>
    spendSort(list, textOf(argumentOf(args, 2, 'attribute')).length, work),
  map: (list, args, work) =>
    work.spend(list.length * (NODE_UNITS + textOf(args.keywords.get('attribute')).length)),
  selectattr: spendAttributes,
  rejectattr: spendAttributes,
});

function spendSort(list: readonly JinjaValue[], unitsPerEntry: number, work: TemplateWork): void {
  const before = work.spent;
  for (const entry of list) {
    work.spend(unitsPerEntry);
    spendPrinted(entry, work);
  }
  work.spend((work.spent - before) * Math.log2(list.length + 1));
}

/** One attribute of each entry is tested. */
function spendAttributes(
  list: readonly JinjaValue[],
  { positional }: JinjaArguments,
  work: TemplateWork,
): void {
  const name = textOf(positional[0]);
  for (const entry of list) {
    const content = contentOf(entry);
    spendLookAt(content instanceof Map ? (content.get(name) as JinjaValue) : undefined, work);
  }
}

function spendLookAt(entry: JinjaValue | undefined, work: TemplateWork): void {
  work.spend(ENTRY_UNITS + textOf(entry).length);
}

/** Filters and methods of a mapping; any other copies its entries. */
const MAP_COSTS = table<ReadonlyMap<string, JinjaValue>>({
  length: free,
  safe: free,
  default: free,
  get: free,
  dictsort(map, _, work) {
    const longest = [...map.keys()].reduce((most, { length }) => Math.max(most, length), 0);
    spendSort([...map.values()], ENTRY_UNITS + longest, work);
  },
});

/** Spends what a filter, or the method of that name, costs for an operand. */
export function spendFilter(
  name: string,
  operand: JinjaValue,
  args: JinjaArguments,
  work: TemplateWork,
): void {
  const content = contentOf(operand);
  if (name === 'tojson') {
    spendJson(operand, work, paddingOf(args));
  } else if (typeof content === 'string') {
    const spend = TEXT_COSTS.get(name) ?? (() => work.spend(content.length));
    spend(content, args, work);
  } else if (Array.isArray(content)) {
    const spend = LIST_COSTS.get(name) ?? (() => work.spend(COPY_UNITS * content.length));
    spend(content as JinjaValue[], args, work);
  } else if (content instanceof Map) {
    const spend = MAP_COSTS.get(name) ?? (() => work.spend(2 * ENTRY_UNITS * content.size));
    spend(content as Map<string, JinjaValue>, args, work);
  }
}

function paddingOf({ keywords }: JinjaArguments): Padding {
  const indent = Number(contentOf(keywords.get('indent')) ?? 0);
  const separators = contentOf(keywords.get('separators'));
  const lengths = Array.isArray(separators)
    ? (separators as JinjaValue[]).map((separator) => textOf(separator).length)
    : [];
  return {
    indent: Math.max(0, indent),
    separators: lengths.reduce((sum, length) => sum + length, 0),
  };
}
