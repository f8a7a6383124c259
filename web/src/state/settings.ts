/**
 * The settings of a side, and how they are written in the address of the page.
 *
 * The one idea: a side keeps only what somebody changed; the rest follows from the model. So an
 * address says what is special about a view, and holds for another model, too.
 */
import type { RequestSettings } from '../api/client.js';
import type { Model } from '../api/token.js';

export interface Settings {
  /** A spec such as `cdf:0.5`. */
  readonly exitPolicy: string;
  /** 1 to `maxDepth`. */
  readonly minDepth: number;
  /** `minDepth` to the loops of the model. */
  readonly maxDepth: number;
  readonly kvPolicy: string;
  readonly temperature: number;
  readonly maxTokens: number;
  readonly seed: number;
  readonly prefill: Prefill;
}

/**
 * What becomes of the prompt: those of the server, and `scored`, which shows how deep its tokens would
 * have gone and so runs all its loops, as `full` does.
 */
export type Prefill = 'scored' | 'full' | 'deferred' | 'adaptive';

export type Mode = 'completion' | 'chat';

/** The two settings that a prompt can be run at. */
export type Side = 'a' | 'b';
export const SIDES: readonly Side[] = ['a', 'b'];

const START_TOKENS = 64;
export const MOST_TEMPERATURE = 2;
export const MOST_SEED = 2 ** 31 - 1;

/** What the settings of a side depend on besides its model. */
export interface SettingsView {
  readonly mode: Mode;
  readonly compares: boolean;
  /** What somebody changed. */
  readonly changes: Readonly<Record<Side, Partial<Settings>>>;
}

/** How a prompt can be treated; the first is what a view begins with. */
export function prefillsOf({ mode, compares }: SettingsView, kvPolicy: string): readonly Prefill[] {
  const byPolicy: readonly Prefill[] =
    kvPolicy === 'per-loop'
      ? ['deferred', 'full']
      : kvPolicy === 'last-exited'
        ? ['full', 'adaptive']
        : ['full'];
  if (mode === 'chat') return byPolicy;
  // who compares wants to see loops saved, and scoring a prompt saves none of them
  return compares ? [...byPolicy, 'scored'] : ['scored', ...byPolicy];
}

/** Side b starts at full depth: what side a would be without an exit. */
function defaultSettings(model: Model, side: Side): Omit<Settings, 'prefill'> {
  return {
    exitPolicy: side === 'b' || !model.hasExitGate ? 'full' : model.exitPolicy,
    minDepth: 1,
    maxDepth: model.numLoops,
    kvPolicy: model.kvPolicies[0] ?? 'per-loop',
    temperature: 0,
    maxTokens: Math.min(START_TOKENS, model.maxModelLen),
    seed: 1,
  };
}

/** The settings of a side: what was changed, within what the model allows, and else its defaults. */
export function settingsOf(model: Model, side: Side, view: SettingsView): Settings {
  const changes = view.changes[side];
  const settings = { ...defaultSettings(model, side), ...changes };
  const maxDepth = within(settings.maxDepth, 1, model.numLoops);
  const kvPolicy = model.kvPolicies.includes(settings.kvPolicy)
    ? settings.kvPolicy
    : (model.kvPolicies[0] ?? settings.kvPolicy);
  const prefills = prefillsOf(view, kvPolicy);
  return {
    ...settings,
    maxDepth,
    minDepth: within(settings.minDepth, 1, maxDepth),
    kvPolicy,
    prefill: prefills.find((prefill) => prefill === changes.prefill) ?? prefills[0]!,
    maxTokens: within(settings.maxTokens, 1, model.maxModelLen),
  };
}

/** Changes after one more, in which the other end of the depths gives way. */
export function changed(
  model: Model,
  settings: Settings,
  changes: Partial<Settings>,
  patch: Partial<Settings>,
): Partial<Settings> {
  const next = { ...changes, ...patch };
  if (patch.minDepth !== undefined && patch.minDepth > settings.maxDepth) {
    return { ...next, maxDepth: within(patch.minDepth, 1, model.numLoops) };
  }
  if (patch.maxDepth !== undefined && patch.maxDepth < settings.minDepth) {
    return { ...next, minDepth: within(patch.maxDepth, 1, model.numLoops) };
  }
  return next;
}

const within = (value: number, min: number, max: number) => Math.min(max, Math.max(min, value));

export function requestSettings(settings: Settings): RequestSettings {
  return {
    exit_policy: settings.exitPolicy,
    min_depth: settings.minDepth,
    max_depth: settings.maxDepth,
    kv_policy: settings.kvPolicy,
    prefill: settings.prefill === 'scored' ? 'full' : settings.prefill,
    temperature: settings.temperature,
    max_tokens: settings.maxTokens,
    seed: settings.seed,
  };
}

/** One line that tells a side's settings from another's. */
export function settingsLine(settings: Settings, model: Model): string {
  const { exitPolicy, minDepth, maxDepth, temperature } = settings;
  const isWhole = minDepth === 1 && maxDepth === model.numLoops;
  return [
    exitPolicy,
    ...(isWhole ? [] : [`depth ${minDepth} to ${maxDepth}`]),
    settings.kvPolicy,
    `temperature ${temperature}`,
  ].join(' · ');
}

interface Field<T> {
  readonly key: string;
  /** Undefined for a text that is no such value. */
  read(text: string): T | undefined;
}

const text = (key: string): Field<string> => ({
  key,
  read: (value) => (/^[\w.,:()+ -]{1,200}$/.test(value) ? value : undefined),
});

const number = (key: string, min: number, max: number, isWhole = true): Field<number> => ({
  key,
  read(value) {
    const found = Number(value);
    const isFine = value.trim() !== '' && found >= min && found <= max;
    return isFine && (!isWhole || Number.isInteger(found)) ? found : undefined;
  },
});

const PREFILLS: readonly Prefill[] = ['scored', 'full', 'deferred', 'adaptive'];

const prefill: Field<Prefill> = {
  key: 'prefill',
  read: (value) => PREFILLS.find((each) => each === value),
};

const FIELDS: { readonly [K in keyof Settings]: Field<Settings[K]> } = {
  exitPolicy: text('policy'),
  minDepth: number('min', 1, 1e3),
  maxDepth: number('max', 1, 1e3),
  kvPolicy: text('kv'),
  temperature: number('temperature', 0, MOST_TEMPERATURE, false),
  maxTokens: number('tokens', 1, 1e7),
  seed: number('seed', 0, MOST_SEED),
  prefill,
};

const prefixOf = (side: Side) => (side === 'a' ? '' : 'b.');

/** Writes the changes of a side into the parameters of an address. */
export function writeSettings(params: URLSearchParams, side: Side, changes: Partial<Settings>) {
  for (const [name, { key }] of Object.entries(FIELDS)) {
    const value = changes[name as keyof Settings];
    if (value !== undefined) params.set(prefixOf(side) + key, String(value));
  }
}

/** The changes of a side in the parameters of an address; what cannot be read is left out. */
export function readSettings(params: URLSearchParams, side: Side): Partial<Settings> {
  const entries = Object.entries(FIELDS).flatMap(([name, field]) => {
    const value = params.get(prefixOf(side) + field.key);
    const read = value === null ? undefined : field.read(value);
    return read === undefined ? [] : [[name, read] as const];
  });
  return Object.fromEntries(entries) as Partial<Settings>;
}
