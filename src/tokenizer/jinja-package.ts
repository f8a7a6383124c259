/**
 * The parts of the jinja package that are used, with types: its own are not found by modules.
 */
import * as jinja from '@huggingface/jinja';

/** A value of the interpreter: a box with a type name around a text, a number, a list, a map... */
export interface JinjaValue {
  readonly type: string;
  readonly value: unknown;
}

/** Variables by name. */
interface Environment {
  set(name: string, value: unknown): unknown;
}

/** Evaluates nodes, each through `evaluate`. */
interface Interpreter {
  run(program: JinjaNode): JinjaValue;
  evaluate(node: JinjaNode | undefined, scope: Environment): JinjaValue;
}

export type JinjaScope = Environment;

/** A node of a template's tree. */
export interface JinjaNode {
  readonly type: string;
}

/** The fields of nodes that looplm looks at; each kind of node has some of them. */
export interface AnyNode extends JinjaNode {
  readonly operator: { readonly value: string };
  readonly left: AnyNode;
  readonly right: AnyNode;
  readonly operand: AnyNode;
  readonly filter: AnyNode;
  readonly test: AnyNode;
  readonly callee: AnyNode;
  readonly args: readonly AnyNode[];
  readonly call: AnyNode;
  readonly object: AnyNode;
  readonly property: AnyNode;
  readonly computed: boolean;
  readonly iterable: AnyNode;
  readonly lhs: AnyNode;
  readonly argument: AnyNode;
  readonly key: AnyNode;
  /** The text of a name or literal, or the node of a keyword's value. */
  readonly value: unknown;
}

export const JinjaEnvironment = jinja.Environment as new () => Environment;
export const JinjaInterpreter = jinja.Interpreter as new (scope: Environment) => Interpreter;

/** Reads a template as chat templates are meant: tags take their line with them. */
export function parseJinja(source: string): JinjaNode {
  const tokenize = jinja.tokenize as (text: string, options: object) => unknown;
  const parse = jinja.parse as (tokens: unknown) => JinjaNode;
  return parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }));
}

const dateTemplate = new jinja.Template('{{ strftime_now(format) }}');

/** The date and time in a format of Python's `strftime`. */
export function formatNow(format: string): string {
  return dateTemplate.render({ format });
}
