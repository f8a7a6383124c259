/**
 * Renders a Jinja template with bounds on what it does: templates come from strangers' model folders,
 * and a loop in one need not end.
 *
 * The interpreter of the jinja package evaluates every node through one method. Here that method first
 * spends the node's cost; where an operation costs more the larger its operands are, it evaluates them,
 * spends, and hands the finished values on in place of their nodes. So the package renders, and no
 * operation begins that is not paid for. What costs how much is in `jinja-costs.ts`.
 */
import { showValue } from '../util/quote.js';
import type { JinjaArguments } from './jinja-costs.js';
import { spendBinary, spendFilter, spendPrinted } from './jinja-costs.js';
import type { AnyNode, JinjaNode, JinjaScope, JinjaValue } from './jinja-package.js';
import { JinjaEnvironment, JinjaInterpreter, formatNow, parseJinja } from './jinja-package.js';
import { COPY_UNITS, ENTRY_UNITS, NODE_UNITS, TemplateWork } from './jinja-work.js';

/** Templates in use have up to 40,000 characters. */
const MAX_SOURCE_LENGTH = 2 ** 20;
/** Reading a source takes time with the square of its longest white space. */
const MAX_WHITE_SPACE = 1000;

/** A pass through a loop: its scope and its `loop` variable. */
const ITERATION_UNITS = 4 * NODE_UNITS;
/** A text makes all its methods when one of them is looked up. */
const METHODS_UNITS = 8 * NODE_UNITS;
/** Formats for dates are made anew in every call. */
const DATE_UNITS = 100 * NODE_UNITS;

/** A template that was read. */
export class BoundedTemplate {
  readonly #program: JinjaNode;
  readonly #facts: Facts;

  /** @throws Error if the source is not valid Jinja, or too long to be a chat template. */
  constructor(source: string) {
    checkSource(source);
    this.#program = parseJinja(source);
    this.#facts = factsOf(this.#program);
  }

  /**
   * Renders with these variables.
   *
   * @param numCharacters - of the texts to be rendered: the bound grows with them.
   * @throws TemplateLimitError beyond the bound.
   * @throws Error for what the template raises, or does wrong.
   */
  render(variables: Readonly<Record<string, unknown>>, numCharacters: number): string {
    const work = new TemplateWork(numCharacters);
    const environment = new JinjaEnvironment();
    for (const [name, value] of Object.entries({ ...globalsOf(work), ...variables })) {
      environment.set(name, value);
    }
    const interpreter = new BoundedInterpreter(environment, this.#facts, work);
    return String(interpreter.run(this.#program).value);
  }
}

function checkSource(source: string): void {
  if (typeof source !== 'string') throw new Error(`it is ${showValue(source)}, not a text`);
  if (source.length > MAX_SOURCE_LENGTH) {
    throw new Error(`it has ${source.length} characters, at most ${MAX_SOURCE_LENGTH} are read`);
  }
  const longest = source.split(/\S+/).reduce((most, { length }) => Math.max(most, length), 0);
  if (longest > MAX_WHITE_SPACE) {
    throw new Error(`it has ${longest} blanks in a row, at most ${MAX_WHITE_SPACE} are read`);
  }
}

/** The names that every template sees, as `Template.render` of the package sets them. */
function globalsOf(work: TemplateWork): Record<string, unknown> {
  return {
    true: true,
    false: false,
    none: null,
    True: true,
    False: false,
    None: null,
    raise_exception(message: string) {
      throw new Error(message);
    },
    range: (start: unknown, stop: unknown, step: unknown) => rangeOf(start, stop, step, work),
    strftime_now(format: string) {
      work.spend(DATE_UNITS + COPY_UNITS * format.length);
      return formatNow(format);
    },
  };
}

/** `range(stop)`, `range(start, stop)`, `range(start, stop, step)`. */
function rangeOf(first: unknown, second: unknown, step: unknown, work: TemplateWork): number[] {
  const [start, stop] = second === undefined ? [0, first] : [first, second];
  const by = step ?? 1;
  if (!isWhole(start) || !isWhole(stop) || !isWhole(by) || by === 0) {
    throw new Error('range() takes one to three whole numbers, and its step is not 0');
  }
  const length = Math.max(0, Math.ceil((stop - start) / by));
  work.spend(ENTRY_UNITS * length);
  return Array.from({ length }, (_, index) => start + index * by);
}

const isWhole = (value: unknown): value is number => Number.isSafeInteger(value);

/** A node that is already evaluated. */
class Held implements JinjaNode {
  readonly type = 'Held';
  readonly held: JinjaValue;

  constructor(held: JinjaValue) {
    this.held = held;
  }
}

/** What is known of a template's nodes before they are evaluated. */
interface Facts {
  /** Nodes that stand in a block, so that their values are printed. */
  readonly printed: ReadonlySet<unknown>;
  /** Nodes inside each macro and call block, which is searched whenever it is defined. */
  readonly numInside: ReadonlyMap<unknown, number>;
}

function factsOf(program: JinjaNode): Facts {
  const printed = new Set<unknown>();
  const numInside = new Map<unknown, number>();
  const visit = (node: unknown): number => {
    if (node instanceof Map) return visit([...node].flat());
    if (Array.isArray(node)) return node.reduce<number>((sum, inner) => sum + visit(inner), 0);
    if (typeof node !== 'object' || node === null) return 0;
    const { type, body, alternate, defaultBlock } = node as Record<string, unknown>;
    for (const block of [body, alternate, defaultBlock]) {
      if (Array.isArray(block)) for (const statement of block) printed.add(statement);
    }
    const size = 1 + visit(Object.values(node));
    if (type === 'Macro' || type === 'CallStatement') numInside.set(node, size);
    return size;
  };
  visit(program);
  return { printed, numInside };
}

class BoundedInterpreter extends JinjaInterpreter {
  readonly #facts: Facts;
  readonly #work: TemplateWork;

  constructor(environment: JinjaScope, facts: Facts, work: TemplateWork) {
    super(environment);
    this.#facts = facts;
    this.#work = work;
  }

  override evaluate(node: JinjaNode | undefined, scope: JinjaScope): JinjaValue {
    if (node instanceof Held) return node.held;
    if (node === undefined) return super.evaluate(node, scope);
    return this.#work.deeper(() => {
      this.#work.spend(NODE_UNITS);
      const value = super.evaluate(this.#paid(node as AnyNode, scope), scope);
      if (this.#facts.printed.has(node)) spendPrinted(value, this.#work);
      return value;
    });
  }

  /** The same node, its cost spent, with those operands held that the cost depends on. */
  #paid(node: AnyNode, scope: JinjaScope): JinjaNode {
    switch (node.type) {
      case 'Macro':
        this.#work.spend(NODE_UNITS * (this.#facts.numInside.get(node) ?? 0));
        return node;
      case 'CallStatement':
        this.#work.spend(NODE_UNITS * (this.#facts.numInside.get(node) ?? 0));
        return changed(node, { call: this.#call(node.call, scope) });
      case 'CallExpression':
        return this.#call(node, scope);
      case 'For':
        return this.#loop(node, scope);
      case 'BinaryExpression':
        return this.#binary(node, scope);
      case 'FilterExpression':
        return this.#filtered(this.#hold(node.operand, scope), node.filter, scope);
      case 'FilterStatement': {
        const body = this.#hold(changed(node, { type: 'Program' }), scope);
        return this.#filtered(body, node.filter, scope);
      }
      case 'TestExpression': {
        const operand = this.#hold(node.operand, scope);
        spendFilter(String(node.test.value), operand.held, NO_ARGUMENTS, this.#work);
        return changed(node, { operand });
      }
      case 'MemberExpression':
        return this.#member(node, scope);
      default:
        return node;
    }
  }

  #hold(node: JinjaNode, scope: JinjaScope): Held {
    return new Held(this.evaluate(node, scope));
  }

  #loop(node: AnyNode, scope: JinjaScope): JinjaNode {
    const { iterable } = node;
    const isFiltered = iterable.type === 'SelectExpression';
    const held = this.#hold(isFiltered ? iterable.lhs : iterable, scope);
    this.#work.spend(ITERATION_UNITS * sizeOf(held.held));
    return changed(node, { iterable: isFiltered ? changed(iterable, { lhs: held }) : held });
  }

  #binary(node: AnyNode, scope: JinjaScope): JinjaNode {
    const operator = node.operator.value;
    if (operator === 'and' || operator === 'or') return node;
    const left = this.#hold(node.left, scope);
    const right = this.#hold(node.right, scope);
    spendBinary(operator, left.held, right.held, this.#work);
    return changed(node, { left, right });
  }

  #filtered(operand: Held, filter: AnyNode, scope: JinjaScope): JinjaNode {
    const isCall = filter.type === 'CallExpression';
    const name = String(isCall ? filter.callee.value : filter.value);
    const args = isCall ? this.#arguments(filter.args, scope) : NO_ARGUMENTS;
    spendFilter(name, operand.held, args, this.#work);
    const held = isCall ? changed(filter, { args: args.nodes }) : filter;
    return { type: 'FilterExpression', operand, filter: held } as JinjaNode;
  }

  #call(node: AnyNode, scope: JinjaScope): JinjaNode {
    const args = this.#arguments(node.args, scope);
    for (const value of args.positional) this.#work.spend(sizeOf(value));
    if (node.callee.type !== 'MemberExpression') return changed(node, { args: args.nodes });
    const object = this.#hold(node.callee.object, scope);
    const property = node.callee.computed
      ? this.#hold(node.callee.property, scope)
      : node.callee.property;
    const name = property instanceof Held ? property.held.value : property.value;
    spendFilter(String(name), object.held, args, this.#work);
    return changed(node, { args: args.nodes, callee: changed(node.callee, { object, property }) });
  }

  /** Positional arguments first, as the package does. */
  #arguments(nodes: readonly AnyNode[], scope: JinjaScope): HeldArguments {
    const positional: JinjaValue[] = [];
    const keywords = new Map<string, JinjaValue>();
    const isKeyword = ({ type }: JinjaNode) =>
      type === 'KeywordArgumentExpression' || type === 'KeywordSpreadExpression';
    const hold = (node: AnyNode): JinjaNode => {
      switch (node.type) {
        case 'StringLiteral': // some filters want to see it
          positional.push(this.evaluate(node, scope));
          return node;
        case 'SpreadExpression':
        case 'KeywordSpreadExpression': {
          const argument = this.#hold(node.argument, scope);
          this.#work.spend(COPY_UNITS * sizeOf(argument.held));
          const { value } = argument.held;
          if (Array.isArray(value)) {
            for (const entry of value) positional.push(entry as JinjaValue);
          } else if (value instanceof Map) {
            for (const [key, entry] of value) keywords.set(String(key), entry as JinjaValue);
          }
          return changed(node, { argument });
        }
        case 'KeywordArgumentExpression': {
          const value = this.#hold(node.value as JinjaNode, scope);
          keywords.set(String(node.key.value), value.held);
          return changed(node, { value });
        }
        default: {
          const held = this.#hold(node, scope);
          positional.push(held.held);
          return held;
        }
      }
    };
    const held = new Map<JinjaNode, JinjaNode>();
    for (const node of nodes) if (!isKeyword(node)) held.set(node, hold(node));
    for (const node of nodes) if (isKeyword(node)) held.set(node, hold(node));
    return { nodes: nodes.map((node) => held.get(node)!), positional, keywords };
  }

  #member(node: AnyNode, scope: JinjaScope): JinjaNode {
    const object = this.#hold(node.object, scope);
    const { value } = object.held;
    if (typeof value === 'string') {
      const isSlice = node.property.type === 'SliceExpression';
      this.#work.spend(isSlice ? 2 * COPY_UNITS * value.length : METHODS_UNITS);
    } else if (node.property.type === 'SliceExpression') {
      this.#work.spend(COPY_UNITS * sizeOf(object.held));
    }
    return changed(node, { object });
  }
}

interface HeldArguments extends JinjaArguments {
  readonly nodes: readonly JinjaNode[];
}

const NO_ARGUMENTS: HeldArguments = { nodes: [], positional: [], keywords: new Map() };

/** A copy of a node with other fields. */
function changed(node: JinjaNode, fields: Readonly<Record<string, unknown>>): JinjaNode {
  return { ...node, ...fields };
}

/** Entries of a list or a mapping; 0 for everything else. */
function sizeOf({ value }: JinjaValue): number {
  if (Array.isArray(value)) return value.length;
  return value instanceof Map ? value.size : 0;
}
