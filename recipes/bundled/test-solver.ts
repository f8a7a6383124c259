/**
 * Answers questions by reading their text, to check the tasks against: it shares no code with them and
 * knows nothing of a problem but its words.
 */
import { COUNTRIES } from './countries.js';

/** The answer to the last turn of a conversation, as one word. */
export function solve(turns: readonly string[]): string {
  const text = turns.join(' ');
  const last = turns.at(-1)!;
  if (/\bcups?\b/i.test(text)) return solveCups(text);
  if (/o'clock/.test(text)) return solveRing(text, HOURS, /(\d+) o'clock/);
  if (/day/i.test(text) && WEEK.some((day) => text.includes(day))) {
    return solveRing(text, WEEK, new RegExp(`\\b(${WEEK.join('|')})\\b`));
  }
  if (/\bthan\b/.test(text)) return solveOrder(text, last);
  if (/ is .*(?:'s|The) /.test(text) && /[Ww]ho('s| is)|who /.test(last)) {
    return solveRelations(text, last);
  }
  if (/\d/.test(text)) return solveSum(text);
  return solveFacts(last);
}

function solveCups(text: string): string {
  const opening = /ball (?:is )?under cup (\d)|Cup (\d) has the ball/.exec(text)!;
  let ball = opening[1] ?? opening[2]!;
  for (const [, a, b] of text.matchAll(/(\d) (?:and|with)(?: cup)? (\d)/g)) {
    ball = ball === a ? b! : ball === b ? a! : ball;
  }
  return ball;
}

const VERBS: readonly (readonly [RegExp, (value: number, n: number) => number])[] = [
  [/take away|subtract|gives|loses|sells|takes|minus|^ ?-/i, (value, n) => value - n],
  [/multiply|times|^ ?\*/i, (value, n) => value * n],
  [/add|gets|buys|finds|brings|plus|^ ?\+/i, (value, n) => value + n],
];

function solveSum(text: string): string {
  const written = text.replace(/double/gi, 'multiply 2').replace(/triple/gi, 'multiply 3');
  const parts = [...written.matchAll(/([^\d]*)(\d+)/g)];
  let value = Number(parts[0]![2]);
  for (const [, words, n] of parts.slice(1)) {
    // What stands before a number says what is done with it, from its sentence on.
    const verb = words!.split('.').at(-1)!;
    const operation = VERBS.find(([pattern]) => pattern.test(verb));
    if (!operation) throw new Error(`no operation in "${verb}"`);
    value = operation[1](value, Number(n));
  }
  return String(value);
}

const WEEK = ['Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday', 'Sunday'];
const HOURS = Array.from({ length: 12 }, (_, index) => String(index + 1));

function solveRing(text: string, places: readonly string[], start: RegExp): string {
  let at = places.indexOf(start.exec(text)![1]!);
  for (const sentence of text.split(/(?<=[.?]) /)) {
    const amount = /(\d+) (?:days?|hours?)/.exec(sentence);
    const by = amount
      ? Number(amount[1])
      : /tomorrow|yesterday|\bafter\b|\bbefore\b/.test(sentence)
        ? 1
        : 0;
    const isBack = /ago|earlier|\bback\b|yesterday|before/.test(sentence);
    at += isBack ? -by : by;
  }
  return places[((at % places.length) + places.length) % places.length]!;
}

function solveOrder(text: string, question: string): string {
  const isMore = (word: string) => /^(older|taller|oldest|tallest)$/.test(word);
  const below = new Map<string, string>();
  for (const [, a, word, b] of text.matchAll(
    /(\w+) is (older|younger|taller|shorter) than (\w+)/g,
  )) {
    if (isMore(word!)) below.set(a!, b!);
    else below.set(b!, a!);
  }
  const lower = new Set(below.values());
  const order = [[...below.keys()].find((name) => !lower.has(name))!];
  while (below.has(order.at(-1)!)) order.push(below.get(order.at(-1)!)!);
  const asked = question.split('. ').at(-1)!;
  const comparison = /(older|younger|taller|shorter), (\w+) or (\w+)/.exec(asked);
  if (comparison) {
    const [, word, a, b] = comparison;
    const isFirst = order.indexOf(a!) < order.indexOf(b!);
    return isFirst === isMore(word!) ? a! : b!;
  }
  const [, rank = '', most] = /(second |third )?(oldest|youngest|tallest|shortest)/.exec(asked)!;
  if (rank !== '' && order.length > 3) return 'I';
  const index = ['', 'second ', 'third '].indexOf(rank);
  return (isMore(most!) ? order : order.toReversed())[index]!;
}

function solveRelations(text: string, last: string): string {
  const next = new Map<string, string>();
  for (const [, person, relation, other] of text.matchAll(/(\w+)'s (\w+) is (\w+)/g)) {
    next.set(`${person} ${relation}`, other!);
  }
  for (const [, other, person, relation] of text.matchAll(/(\w+) is (\w+)'s (\w+)\./g)) {
    next.set(`${person} ${relation}`, other!);
  }
  for (const [, relation, person, other] of text.matchAll(/[Tt]he (\w+) of (\w+) is (\w+)/g)) {
    next.set(`${person} ${relation}`, other!);
  }
  for (const [, other, relation, person] of text.matchAll(/(\w+) is the (\w+) of (\w+)\./g)) {
    next.set(`${person} ${relation}`, other!);
  }
  const question = last.split(/(?<=\.) /).findLast((sentence) => /who/i.test(sentence))!;
  const chain = /(?:who is|who's|tell me who) (.*?)(?: is)?[?.]$/i.exec(question)![1]!;
  const [person, ...relations] = chain.split("'s ");
  return relations.reduce((at, relation) => next.get(`${at} ${relation}`) ?? 'I', person!);
}

function solveFacts(question: string): string {
  const names = COUNTRIES.flatMap(({ name, capital }) => [name, capital ?? name]);
  const subject = names
    .filter((name) => question.includes(name))
    .toSorted((a, b) => b.length - a.length)[0]!;
  const [, chain = ''] = question.split(`${subject}'s `);
  const asked = chain === '' ? [question] : chain.split("'s ");
  return asked.reduce((at, words) => {
    const country = COUNTRIES.find(({ name }) => name === at);
    if (!country) return COUNTRIES.find(({ capital }) => capital === at)!.name;
    if (/largest neighbou?r/.test(words)) return country.neighbour!;
    if (/continent/.test(words)) return country.continent;
    if (/currency|money/.test(words)) return country.currency!;
    if (/language/.test(words)) return country.language!;
    if (/capital/.test(words)) return country.capital!;
    throw new Error(`no relation in "${words}"`);
  }, subject);
}
