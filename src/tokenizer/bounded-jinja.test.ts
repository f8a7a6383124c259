/**
 * Templates that would run for ever or fill the memory are stopped, and every other one renders as the
 * jinja package renders it.
 */
import { Template } from '@huggingface/jinja';
import { uniformInt } from 'pure-rand/distribution/uniformInt';
import { describe, expect, test } from 'vitest';
import { ConfigError, RequestError } from '../errors.js';
import { BoundedTemplate } from './bounded-jinja.js';
import { ChatTemplate } from './chat-template.js';
import { generatorFor } from '../util/random.js';

function errorOf(action: () => unknown): unknown {
  try {
    action();
    return undefined;
  } catch (error) {
    return error;
  }
}

const user = { role: 'user', content: 'Hi, tell me\na story' };

/** A text of `2 ** power` letters, as the variable `a`. */
const doubled = (power: number, start = "'x'") =>
  `{% set ns = namespace(a=${start}) %}{% for i in range(${power}) %}{% set ns.a = ns.a + ns.a %}{% endfor %}{% set a = ns.a %}`;
/** A list that holds itself twice, nested so deep. */
const nested = (depth: number) =>
  `{% set ns = namespace(a=['x']) %}{% for i in range(${depth}) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{% set a = ns.a %}`;

describe.each<[string, Readonly<Record<string, string>>]>([
  [
    'loops',
    {
      'a huge range': '{% for i in range(1000000000) %}{% endfor %}',
      'a range downwards': '{% for i in range(0, -1000000000, -1) %}{% endfor %}',
      'a range that is only counted': '{{ range(1000000000) | length }}',
      'nested loops':
        '{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}',
      'nested loops without a body':
        '{% set r = range(99999) %}{% for i in r %}{% for j in r %}{% endfor %}{% endfor %}',
      'a filtered loop': '{% for i in range(99999) if i in range(99999) %}{% endfor %}',
      'loops over messages': `${'{% for m in messages %}{% for i in range(99) %}'.repeat(5)}x${'{% endfor %}{% endfor %}'.repeat(5)}`,
      'a long body that is skipped': `{% for i in range(99999) %}{% if false %}${'{{ x }}'.repeat(9999)}{% endif %}{{ unknown }}{% endfor %}`,
    },
  ],
  [
    'macros',
    {
      'endless recursion': '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}',
      'recursion that doubles':
        '{% macro f(n) %}{% if n > 0 %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}',
      'two that call each other':
        '{% macro f() %}{{ g() }}{% endmacro %}{% macro g() %}{{ f() }}{% endmacro %}{{ f() }}',
      'a default that recurses': '{% macro f(a=f()) %}{% endmacro %}{{ f() }}',
      'call blocks':
        '{% macro f() %}{% call f() %}{{ caller() }}{% endcall %}{% endmacro %}{{ f() }}',
      'a large macro, defined again and again': `{% for i in range(50000) %}{% macro f() %}${'{{ x }}'.repeat(50_000)}{% endmacro %}{% endfor %}`,
      'arguments without number':
        '{% macro f() %}{{ varargs | length }}{% endmacro %}{% set r = range(99999) %}{% for i in r %}{{ f(*r) }}{% endfor %}',
    },
  ],
  [
    'texts',
    {
      'a sum that doubles': `${doubled(60)}{{ a }}`,
      'a chain that doubles': doubled(60).replace('ns.a + ns.a', 'ns.a ~ ns.a') + '{{ a }}',
      replace: `${doubled(20)}{{ a.replace('x', a) }}`,
      'replace of nothing': `${doubled(20)}{{ a | replace('', a) }}`,
      join: `${doubled(20)}{{ a | join(a) }}`,
      'join of a list': `${doubled(20)}{{ range(9999) | join(a) }}`,
      'indent by much': "{{ 'a\\nb' | indent(100000000000) }}",
      'indent of many lines': `${doubled(20, "'\\n'")}{{ a | indent(100000, true, true) }}`,
      'indent by a float': "{{ 'a\\nb' | indent(width=10 ** 11) }}",
      split: `${doubled(20, "'x,'")}{{ a.split(',') | length }}`,
      'split at blanks': `${doubled(20, "'x '")}{{ a.split() | length }}`,
      'naive search': `${doubled(20)}{% set b = a + 'y' %}{{ b in a + a }}`,
      'upper, again and again': `${doubled(18)}{% for i in range(9999) %}{{ a.upper() == i }}{% endfor %}`,
      slices: `${doubled(18)}{% for i in range(9999) %}{{ a[1:] == i }}{% endfor %}`,
      'a test that reads': `${doubled(18)}{% for i in range(9999) %}{{ a is lower }}{% endfor %}`,
      'a filter block': '{% filter indent(999999999) %}a\n\nb{% endfilter %}',
      'a set block': `{% set ns = namespace(a='xx') %}{% for i in range(99) %}{% set t %}{{ ns.a }}{{ ns.a }}{% endset %}{% set ns.a = t %}{% endfor %}`,
      dates: "{% for i in range(99999) %}{{ strftime_now('%B') }}{% endfor %}",
    },
  ],
  [
    'lists and mappings',
    {
      'a sum that doubles': doubled(60, "['x']"),
      'printed lists': `${nested(60)}{{ a }}`,
      'printed lists in a text': `${nested(60)}{{ 'x' ~ a }}`,
      'lists as JSON': `${nested(60)}{{ a | tojson }}`,
      'JSON with wide indent': `{% set a = {'a': {'b': {'c': [1]}}} %}{{ a | tojson(indent=100000000) }}`,
      'JSON with long separators': `${doubled(20)}{{ range(9999) | tojson(separators=(a, a)) }}`,
      'lists as texts': `${nested(60)}{{ a | string }}`,
      'lists that are joined': `${nested(60)}{{ a | join('') }}`,
      'lists that are compared with a text': `${nested(60)}{{ a == 'x' }}`,
      'lists without bottom':
        '{% set ns = namespace(a=[]) %}{% for i in range(9999) %}{% set ns.a = [ns.a] %}{% endfor %}{{ ns.a }}',
      'a namespace in itself': '{% set ns = namespace() %}{% set ns.a = ns %}{{ ns }}',
      'long keys that are sorted': `${doubled(18)}{% set m = {a: 1, a + 'y': 2} %}{% for i in range(9999) %}{{ m | dictsort | length }}{% endfor %}`,
      sorting: `${doubled(18)}{% set ns = namespace(l=[a]) %}{% for i in range(12) %}{% set ns.l = ns.l + ns.l %}{% endfor %}{{ ns.l | sort | length }}`,
      'sorting by a long path': `${doubled(18, "'a.'")}{% set l = [{'a': 1}, {'a': 2}] %}{% for i in range(999) %}{{ l | sort(attribute=a) | length }}{% endfor %}`,
      'mapping by a long path': `${doubled(20, "'a.'")}{% set l = [{'a': 1}] %}{% for i in range(999) %}{{ l | map(attribute=a) | length }}{% endfor %}`,
      'a list of lists':
        '{% set r = range(99999) %}{% for i in r %}{{ (r + r) | length }}{% endfor %}',
      'a list upside down':
        '{% set r = range(99999) %}{% for i in r %}{{ r | reverse | first }}{% endfor %}',
      'a search in a list': '{% set r = range(99999) %}{% for i in r %}{{ -1 in r }}{% endfor %}',
      'copies of mappings':
        "{% for i in range(99999) %}{{ dict }}{{ namespace({'a': 1}) }}{% for k in range(99) %}{% endfor %}{% endfor %}",
    },
  ],
])('%s', (_, cases) => {
  test.each(Object.entries(cases))('%s', (__, source) => {
    const error = errorOf(() => new ChatTemplate(source).apply([user]));
    expect(error).toBeInstanceOf(RequestError);
    expect(String(error)).toMatch(/the chat template was stopped: it (does more work|nests more)/);
  });
});

test('the bound grows with the messages', () => {
  const source =
    '{% for m in messages %}{% for i in range(9999) %}{{ m.role }}{% endfor %}{% endfor %}';
  const render = (content: string) =>
    new ChatTemplate(source).apply(Array.from({ length: 10 }, () => ({ role: 'user', content })));
  expect(() => render('x')).toThrow(RequestError);
  expect(render('x'.repeat(10_000))).toHaveLength(4 * 10 * 9999);
});

test.each([
  ['a range without end', '{% for i in range(10 ** 300) %}{% endfor %}', /whole numbers/],
  ['a long exception', `${doubled(22)}{{ raise_exception(a) }}`, /\(x{500}\.\.\.\)/],
])('what a template does wrong is told in few words: %s', (_, source, message) => {
  expect(() => new ChatTemplate(source).apply([user])).toThrow(message);
});

test('a source that takes for ever to be read is a ConfigError', () => {
  for (const source of [
    'x'.repeat(2 ** 20 + 1),
    `a${' '.repeat(1001)}b`,
    `{% if true %}${' \n'.repeat(100_000)}`,
    `{{ ${'('.repeat(100_000)}`,
    '{% if a %}'.repeat(50_000),
    `{{ 1${' + 1'.repeat(100_000)} }}`,
  ]) {
    expect(() => new ChatTemplate(source), source.slice(0, 20)).toThrow(ConfigError);
  }
});

/** Random templates of every kind of node, mostly of fitting types. */
class Writer {
  readonly #random: ReturnType<typeof generatorFor>;
  #numMacros = 0;

  constructor(seed: number) {
    this.#random = generatorFor(0x7e3, seed);
  }

  pick<T>(...choices: readonly T[]): T {
    return choices[uniformInt(this.#random, 0, choices.length - 1)]!;
  }

  /** Calls one of the functions; the first one where the depth is used up. */
  #one(depth: number, ...choices: readonly (() => string)[]): string {
    return depth <= 0 ? choices[0]!() : this.pick(...choices)();
  }

  text(depth: number): string {
    const inner = () => this.text(depth - 1);
    return this.#one(
      depth,
      () => this.pick("'a'", "' b c '", "'x\\ny'", 'm.role', 'm.content', "''", 't'),
      () => `(${inner()} + ${inner()})`,
      () => `(${inner()} ~ ${this.any(depth - 1)})`,
      () => `${inner()}.${this.pick('strip()', 'upper()', 'title()', 'lstrip()', 'capitalize()')}`,
      () => `(${inner()} | ${this.pick('trim', 'lower', 'indent', 'indent(2, true)', 'title')})`,
      () => `(${inner()}).replace(${inner()}, ${inner()}, 2)`,
      () => `(${inner()} | replace(${inner()}, 'r'))`,
      () => `(${this.list(depth - 1)} | join(${inner()}))`,
      () =>
        `(${this.any(depth - 1)} | tojson(${this.pick('', 'indent=2', "separators=(',', ':')")}))`,
      () => `(${inner()})[${this.pick('1:', ':2', '::-1', '-1', '0')}]`,
      () => `(${inner()} if ${this.truth(depth - 1)} else ${inner()})`,
      () => `f(${inner()}${this.pick('', ', b=2', ', *[1]', ", **{'b': 3}")})`,
      () => `(${this.any(depth - 1)} | default('d'))`,
    );
  }

  number(depth: number): string {
    const inner = () => this.number(depth - 1);
    return this.#one(
      depth,
      () => this.pick('0', '3', '-2', '1.5', 'loop.index', 'n'),
      () => `(${inner()} ${this.pick('+', '-', '*', '/', '//', '%')} ${inner()})`,
      () => `(${this.list(depth - 1)} | length)`,
      () => `(${this.text(depth - 1)} | length)`,
      () => `(${this.text(depth - 1)} | int)`,
      () => `(${inner()} | abs)`,
      () => `(-${inner()})`,
    );
  }

  truth(depth: number): string {
    return this.#one(
      depth,
      () => this.pick('true', 'false', 'none', 'u', 'loop.first', 'loop.last'),
      () => `(not ${this.truth(depth - 1)})`,
      () => `(${this.truth(depth - 1)} ${this.pick('and', 'or')} ${this.any(depth - 1)})`,
      () =>
        `(${this.number(depth - 1)} ${this.pick('<', '>=', '==', '!=')} ${this.number(depth - 1)})`,
      () => `(${this.text(depth - 1)} ${this.pick('in', 'not in', '==')} ${this.text(depth - 1)})`,
      () => `(${this.text(depth - 1)} in ${this.list(depth - 1)})`,
      () =>
        `(${this.any(depth - 1)} is ${this.pick('defined', 'string', 'mapping', 'none', 'number')})`,
      () => `${this.text(depth - 1)}.startswith(${this.text(depth - 1)})`,
    );
  }

  list(depth: number): string {
    const inner = () => this.list(depth - 1);
    return this.#one(
      depth,
      () => this.pick('[]', "['a', 'B', 'a']", 'range(4)', 'range(5, 0, -2)', 'messages'),
      () => `[${this.any(depth - 1)}, ${this.any(depth - 1)}]`,
      () => `(${inner()} + ${inner()})`,
      () => `(${inner()} | ${this.pick('reverse', 'list', 'unique', 'sort')})`,
      () => `(${this.map(depth - 1)} | ${this.pick('items', 'dictsort')})`,
      () => `${this.map(depth - 1)}.${this.pick('keys()', 'values()')}`,
      () => `(messages | map(attribute=${this.pick("'role'", "'content'", "'x'")}))`,
      () => `(messages | ${this.pick('selectattr', 'rejectattr')}('role', 'equalto', 'user'))`,
      () => `(${inner()})[${this.pick('1:', ':2', '::-1')}]`,
      () => `(${this.text(depth - 1)}).split(${this.pick('', "'b'", "' '")})`,
    );
  }

  map(depth: number): string {
    return this.#one(
      depth,
      () => this.pick("{'a': 1}", 'm', 'messages[0]', '{}'),
      () => `{'k': ${this.any(depth - 1)}, 'b': ${this.any(depth - 1)}}`,
    );
  }

  any(depth: number): string {
    return this.pick(
      () => this.text(depth),
      () => this.number(depth),
      () => this.truth(depth),
      () => this.list(depth),
      () => this.map(depth),
    )();
  }

  block(depth: number): string {
    const inner = () => this.block(depth - 1);
    return this.#one(
      depth,
      () => `{{ ${this.any(2)} }}`,
      () => `{%- if ${this.truth(2)} %}${inner()}{% else -%}${inner()}{% endif %}`,
      () => `{% for m in messages %}\n  ${inner()}{% endfor %}`,
      () => `{% for n in ${this.list(2)} if n %}${inner()}{% else %}none{% endfor %}`,
      () => `{% for k, v in ${this.map(1)}.items() %}{{ k }}${inner()}{% break %}{% endfor %}`,
      () => `{% set t = ${this.text(2)} %}${inner()}`,
      () => `{% set t %}${inner()}{% endset %}{{ t }}`,
      () => `{% set ns.x = ${this.any(2)} %}{{ ns.x }}${inner()}`,
      () =>
        `{% filter ${this.pick('upper', "replace('a', 'bb')", 'indent(3)')} %}${inner()}{% endfilter %}`,
      () => {
        const name = `f${(this.#numMacros += 1)}`;
        const used = this.pick(
          `{{ ${name}('q') }}`,
          `{% call ${name}(2) %}${inner()}{% endcall %}`,
        );
        return `{% macro ${name}(a, b=a) %}${inner()}{{ a }}{{ b }}{{ caller() if caller }}{% endmacro %}${used}`;
      },
      () => `{% call f(${this.text(1)}) %}${inner()}{% endcall %}`,
      () => `${inner()}${inner()}text\n`,
    );
  }
}

const PRELUDE =
  "{% set ns = namespace(x=1) %}{% set t = 'T' %}{% set n = 2 %}{% macro f(a, b=1) %}<{{ a }}{{ b }}>{% endmacro %}";

test('templates that stay within the bounds render as without bounds', () => {
  const messages = [
    { role: 'system', content: ' be\nbrief ' },
    user,
    { role: 'tool', content: '' },
  ];
  const outcome = (render: () => string) => {
    let text: string | undefined;
    const error = errorOf(() => (text = render()));
    return text ?? String(error);
  };
  let numTexts = 0;
  for (let seed = 0; seed < 1000; seed++) {
    const source = PRELUDE + new Writer(seed).block(4);
    const variables = { messages, m: user };
    const expected = outcome(() => new Template(source).render(variables));
    const bounded = outcome(() => new BoundedTemplate(source).render(variables, 100));
    // the package's own range takes other things than whole numbers, too
    if (!bounded.startsWith('Error: range()')) expect(bounded, source).toBe(expected);
    if (!expected.includes('Error: ')) numTexts += 1;
  }
  expect(numTexts).toBeGreaterThan(500);
});
