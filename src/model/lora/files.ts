/**
 * Adapters in the files of Python's PEFT: adapter_config.json and adapter_model.safetensors.
 *
 * What the tensors are says which modules are adapted and by which rank; the config says how they are
 * scaled. Kinds of adapters that looplm does not compute are refused by their name, never half loaded.
 * Source: PEFT (huggingface/peft), `LoraConfig` and `get_peft_model_state_dict`.
 */
import { z } from 'zod';
import { CheckpointError, UnsupportedError } from '../../errors.js';
import type { Folder } from '../../util/folder.js';
import { readJson } from '../../util/folder.js';
import { quote, showValue } from '../../util/quote.js';
import type { SafetensorsEntry } from '../../util/safetensors.js';
import { openSafetensors, safetensorsChunks } from '../../util/safetensors.js';
import type { LoopLMConfig } from '../config.js';
import type { ParameterSpec } from '../params.js';
import { parameterSpecs } from '../params.js';
import type { Adapter } from './adapter.js';
import type { LoraModule, LoraScaling, LoraSettings } from './settings.js';
import { loraModule, modulePath, rankOf } from './settings.js';

export const ADAPTER_CONFIG_FILE = 'adapter_config.json';
export const ADAPTER_WEIGHTS_FILE = 'adapter_model.safetensors';
const PICKLED_FILE = 'adapter_model.bin';
/** How PEFT wraps the names of a causal language model. */
const PREFIX = 'base_model.model.';
/** The one module of a model that an adapter may replace as a whole. */
const GATE_MODULE = 'early_exit_gate';

const positive = z.number().positive();
const adapterConfig = z.looseObject({
  peft_type: z.string(),
  r: z.int().positive().nullish(),
  lora_alpha: positive.nullish(),
  use_rslora: z.boolean().nullish(),
  rank_pattern: z.record(z.string(), z.int().positive()).nullish(),
  alpha_pattern: z.record(z.string(), positive).nullish(),
});

/** Keys of PEFT's config that make another adapter of it, the values at which they do not, and why. */
const REFUSED: readonly {
  readonly key: string;
  readonly allowed: (value: unknown) => boolean;
  readonly what: string;
}[] = [
  { key: 'use_dora', allowed: isOff, what: 'DoRA, which scales the columns of a weight' },
  { key: 'use_qalora', allowed: isOff, what: 'QALoRA' },
  { key: 'use_bdlora', allowed: isOff, what: 'BD-LoRA' },
  { key: 'lora_bias', allowed: isOff, what: 'adapters with a bias' },
  { key: 'bias', allowed: (value) => isOff(value) || value === 'none', what: 'trained biases' },
  { key: 'fan_in_fan_out', allowed: isOff, what: 'transposed weights' },
  { key: 'layer_replication', allowed: isOff, what: 'replicated layers' },
  { key: 'target_parameters', allowed: isOff, what: 'adapters of parameters without a module' },
  { key: 'trainable_token_indices', allowed: isOff, what: 'trained rows of the embedding' },
  { key: 'alora_invocation_tokens', allowed: isOff, what: 'activated LoRA' },
  { key: 'kasa_config', allowed: isOff, what: 'KaSA' },
  { key: 'monteclora_config', allowed: isOff, what: 'Monte Carlo LoRA' },
  { key: 'arrow_config', allowed: isOff, what: 'Arrow routing' },
  {
    key: 'init_lora_weights',
    allowed: (value) =>
      typeof value !== 'string' || ['gaussian', 'orthogonal', 'eva'].includes(value),
    what: 'an initialisation that changes the weights of the model itself',
  },
  {
    key: 'modules_to_save',
    allowed: (value) => isOff(value) || isGateOnly(value),
    what: `modules that are saved as a whole, other than ${GATE_MODULE}`,
  },
];

/** Tensors of adapters that looplm does not compute. */
const REFUSED_TENSORS = [
  {
    pattern: /lora_(embedding|magnitude)/,
    why: 'looplm computes LoRA of matrices only, so merge the adapter into its model in Python',
  },
  {
    pattern: /(embed_tokens|lm_head|base_layer)\.weight$/,
    why: 'a weight of the model itself; save the adapter with save_embedding_layers=False',
  },
] as const;

function isOff(value: unknown): boolean {
  if (value === undefined || value === null || value === false) return true;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

function isGateOnly(value: unknown): boolean {
  return Array.isArray(value) && value.every((name) => modulesEnd(String(name)) === GATE_MODULE);
}

const modulesEnd = (name: string) => name.split('.').at(-1);

/**
 * Reads an adapter and checks that it is one of this model.
 *
 * @throws UnsupportedError for an adapter that is more than LoRA of matrices and an exit gate
 * @throws CheckpointError if the files are damaged, contradict each other or do not fit the model
 * @throws FileError if a file is missing or unreadable
 */
export async function loadAdapter(folder: Folder, config: LoopLMConfig): Promise<Adapter> {
  const scaling = await readScaling(folder);
  if (!(await folder.exists(ADAPTER_WEIGHTS_FILE)) && (await folder.exists(PICKLED_FILE))) {
    throw new UnsupportedError(
      `${folder.path} holds its adapter as ${PICKLED_FILE}, and looplm reads ${ADAPTER_WEIGHTS_FILE}. Save it again with safe_serialization=True.`,
    );
  }
  const source = await folder.open(ADAPTER_WEIGHTS_FILE);
  try {
    const reader = await openSafetensors(source);
    const found = new FoundTensors(folder, config, reader.entries);
    const modules = found.modules(scaling);
    const weights = new Map<string, Float32Array>();
    for (const [hfName, stored] of found.names) {
      const values = await reader.readFloat32(stored);
      if (!values.every((value) => Number.isFinite(value))) {
        throw damaged(folder, `${quote(stored)} holds values that are not finite`);
      }
      weights.set(hfName, values);
    }
    return { modules, weights };
  } finally {
    await source.close();
  }
}

async function readScaling(folder: Folder): Promise<LoraScaling> {
  const parsed = adapterConfig.safeParse(await readJson(folder, ADAPTER_CONFIG_FILE));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new CheckpointError(
      `${folder.path}/${ADAPTER_CONFIG_FILE} is wrong at "${issue?.path.join('.') ?? ''}" (${issue?.message ?? 'unknown'}). Take the file that PEFT or looplm has written.`,
    );
  }
  const { peft_type: type, ...json } = parsed.data;
  if (type !== 'LORA') {
    throw new UnsupportedError(
      `${folder.path} holds an adapter of type ${quote(type)}; looplm computes LORA. Merge it into its model in Python.`,
    );
  }
  const refused = REFUSED.find(({ key, allowed }) => !allowed(json[key]));
  if (refused) {
    throw new UnsupportedError(
      `${folder.path} has ${refused.key} ${showValue(json[refused.key])}: ${refused.what}, which looplm does not compute. Merge the adapter into its model in Python.`,
    );
  }
  return {
    r: json.r ?? 8,
    lora_alpha: json.lora_alpha ?? 8,
    use_rslora: json.use_rslora ?? false,
    rank_pattern: json.rank_pattern ?? {},
    alpha_pattern: json.alpha_pattern ?? {},
  };
}

/** The tensors of a file, each at its place in the model. */
class FoundTensors {
  /** Name in the file by name here. */
  readonly names = new Map<string, string>();
  readonly #folder: Folder;
  readonly #targets: ReadonlyMap<string, ParameterSpec>;
  readonly #entries: ReadonlyMap<string, SafetensorsEntry>;
  readonly #adapted = new Set<string>();

  constructor(
    folder: Folder,
    config: LoopLMConfig,
    entries: ReadonlyMap<string, SafetensorsEntry>,
  ) {
    this.#folder = folder;
    this.#entries = entries;
    const specs = parameterSpecs(config);
    this.#targets = new Map(specs.map((spec) => [modulePath(spec), spec]));
    const whole = new Map(
      specs
        .filter(({ kind }) => kind === 'gateWeight' || kind === 'gateBias')
        .map((spec) => [spec.hfName, spec]),
    );
    for (const stored of entries.keys()) this.#place(stored, whole);
  }

  #place(stored: string, whole: ReadonlyMap<string, ParameterSpec>): void {
    const name = stored.startsWith(PREFIX) ? stored.slice(PREFIX.length) : stored;
    const replaced = whole.get(name);
    if (replaced) {
      this.#checkShape(stored, replaced.shape);
      return void this.names.set(replaced.hfName, stored);
    }
    const [, path, letter] = /^(.*)\.lora_([AB])\.weight$/.exec(name) ?? [];
    const target = path === undefined ? undefined : this.#targets.get(path);
    const isMatrix = target && ['matrix', 'head', 'gateWeight'].includes(target.kind);
    if (isMatrix) {
      this.#adapted.add(path!);
      return void this.names.set(`${path}.lora_${letter}.weight`, stored);
    }
    const at = `The adapter in ${this.#folder.path} holds ${quote(stored)}`;
    const refused = REFUSED_TENSORS.find(({ pattern }) => pattern.test(name));
    if (refused) throw new UnsupportedError(`${at}: ${refused.why}.`);
    throw new CheckpointError(
      `${at}; the model has no such matrix. Check that the two belong together.`,
    );
  }

  modules(scaling: LoraScaling): readonly LoraModule[] {
    if (this.#adapted.size === 0) throw damaged(this.#folder, 'it adapts no matrix');
    return [...this.#targets].flatMap(([path, target]) => {
      if (!this.#adapted.has(path)) return [];
      const [a, b] = [this.#shapeOf(path, 'A'), this.#shapeOf(path, 'B')];
      const module = loraModule(target, scaling, { rank: a[0]! });
      const wanted = rankOf(scaling, path);
      if (wanted !== a[0]) {
        const said = `${ADAPTER_CONFIG_FILE} gives ${path} the rank ${wanted}`;
        throw damaged(this.#folder, `${said}, and its lora_A has shape [${a.join(', ')}]`);
      }
      this.#checkShape(this.names.get(module.a.hfName)!, module.a.shape);
      this.#checkShape(this.names.get(module.b.hfName)!, module.b.shape, b);
      return [module];
    });
  }

  #shapeOf(path: string, letter: 'A' | 'B'): readonly number[] {
    const stored = this.names.get(`${path}.lora_${letter}.weight`);
    if (stored === undefined) throw damaged(this.#folder, `it lacks lora_${letter} of ${path}`);
    return this.#entries.get(stored)!.shape;
  }

  #checkShape(
    stored: string,
    needed: readonly number[],
    got: readonly number[] = this.#entries.get(stored)!.shape,
  ): void {
    if (got.join() === needed.join()) return;
    throw new CheckpointError(
      `The adapter in ${this.#folder.path}: ${quote(stored)} has shape [${got.join(', ')}]; the model needs [${needed.join(', ')}]. Check that the two belong together.`,
    );
  }
}

function damaged(folder: Folder, fault: string): CheckpointError {
  return new CheckpointError(
    `The adapter in ${folder.path} is damaged: ${fault}. Copy or download it again.`,
  );
}

/** How to write an adapter. */
export interface SaveAdapterOptions {
  readonly settings: LoraSettings;
  /** Name or path of the model that it adapts, for people and for PEFT. */
  readonly baseModel: string;
}

/**
 * Writes an adapter as PEFT does, in float32; each file appears whole or not at all, the config last.
 *
 * @throws FileError if the folder cannot be written to.
 */
export async function saveAdapter(
  folder: Folder,
  { modules, weights }: Adapter,
  { settings, baseModel }: SaveAdapterOptions,
): Promise<void> {
  const adapted = modules.flatMap(({ a, b }) => [a, b]);
  const shapes = new Map(adapted.map(({ hfName, shape }) => [hfName, shape]));
  const tensors = [...weights].map(([name, data]) => ({
    name: `${PREFIX}${name}`,
    // whole weights are those of the gate, [1, D] and [1]
    shape: shapes.get(name) ?? (name.endsWith('.bias') ? [1] : [1, data.length]),
    dtype: 'F32' as const,
    data,
  }));
  const replacesGate = [...weights.keys()].some((name) => !shapes.has(name));
  const paths = modules.map(({ target }) => modulePath(target));
  const targets =
    settings.target_modules === 'all-linear'
      ? [...new Set(paths.map((path) => modulesEnd(path)!))]
      : settings.target_modules;
  const json = {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    base_model_name_or_path: baseModel,
    inference_mode: true,
    r: settings.r,
    lora_alpha: settings.lora_alpha,
    lora_dropout: 0,
    use_rslora: settings.use_rslora,
    rank_pattern: settings.rank_pattern,
    alpha_pattern: settings.alpha_pattern,
    target_modules: targets,
    modules_to_save: replacesGate ? [GATE_MODULE] : null,
    bias: 'none',
    fan_in_fan_out: false,
    init_lora_weights: true,
    use_dora: false,
  };
  await folder.write(ADAPTER_WEIGHTS_FILE, safetensorsChunks(tensors, { format: 'pt' }));
  await folder.write(ADAPTER_CONFIG_FILE, `${JSON.stringify(json, null, 2)}\n`);
}
