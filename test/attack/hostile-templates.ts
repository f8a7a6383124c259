/** Chat templates that would run for ever, or fill the memory. Others are in src/tokenizer. */
export const HOSTILE_TEMPLATES: readonly string[] = [
  '{% for i in range(1000000000) %}x{% endfor %}',
  '{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}',
  '{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}',
  "{% set ns = namespace(a='x') %}{% for i in range(99) %}{% set ns.a = ns.a + ns.a %}{% endfor %}{{ ns.a }}",
  "{% set ns = namespace(a=['x']) %}{% for i in range(60) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a }}",
  "{{ 'a\\nb' | indent(100000000000) }}",
  '{{ messages | tojson(indent=1000000000) }}',
  '{{ raise_exception(messages | tojson) }}',
  '{{ unknown.thing.deep }}',
  '{{ messages[99].content }}',
  '{% if %}',
  '{{ ((((((((((1))))))))))',
  '{% if true %}'.repeat(5000),
  ' \n'.repeat(5000),
  '\u001b[2J',
];
