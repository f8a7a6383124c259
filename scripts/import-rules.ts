/**
 * Who may import whom, as data. `imports.ts` applies it.
 *
 * An area is a folder of `src/`, a first-level file of `src/` or a top-level folder of the
 * repository. What an area may import is listed here and nowhere else; an area without a row may
 * import nothing but itself. The globals of Node and the browser are in `.oxlintrc.json`.
 */

/** The areas of `src/` that know neither a runtime nor a flag. */
const CORE = [
  'src/util',
  'src/cluster',
  'src/graph',
  'src/runtime',
  'src/model',
  'src/tokenizer',
  'src/text',
  'src/data',
  'src/train',
  'src/engine',
  'src/eval',
  'src/charts',
  'src/rl',
  'src/serve',
] as const;

/** What each area may import besides itself and `src/util`. */
export interface AreaRule {
  readonly imports: readonly string[];
  /** Areas of which it may import types only. */
  readonly types?: readonly string[];
}

const LIBRARY = ['src/index.ts', 'src/loop-lm.ts', 'src/platform', ...CORE];

export const AREA_RULES: Readonly<Record<string, AreaRule>> = {
  'src/index.ts': { imports: ['src/loop-lm.ts', ...CORE] },
  'src/loop-lm.ts': {
    imports: ['src/engine', 'src/text', 'src/tokenizer', 'src/model', 'src/runtime'],
    // the options of `fromPretrained`, which loads the platform by the name of package.json
    types: ['src/platform'],
  },
  'src/util': { imports: [] },
  'src/cluster': { imports: [] },
  'src/graph': { imports: [] },
  'src/runtime': { imports: ['src/graph'] },
  'src/model': { imports: ['src/graph'] },
  'src/tokenizer': { imports: [] },
  'src/text': { imports: ['src/tokenizer'], types: ['src/engine', 'src/model'] },
  'src/data': { imports: ['src/tokenizer'] },
  'src/train': { imports: ['src/model', 'src/runtime', 'src/graph', 'src/data', 'src/cluster'] },
  'src/engine': { imports: ['src/model', 'src/runtime', 'src/graph'] },
  'src/eval': {
    imports: ['src/engine', 'src/model', 'src/runtime', 'src/graph', 'src/tokenizer', 'src/data'],
  },
  'src/charts': { imports: [], types: ['src/eval'] },
  'src/rl': {
    imports: [
      'src/engine',
      'src/train',
      'src/text',
      'src/model',
      'src/graph',
      'src/tokenizer',
      'src/data',
      'src/cluster',
    ],
    types: ['src/runtime'],
  },
  'src/serve': {
    imports: ['src/engine', 'src/text', 'src/tokenizer'],
    types: ['src/loop-lm.ts', 'src/model'],
  },
  // The worker entry runs the executor, hence the values of runtime; models are converted and made
  // on disk, hence those of model; text becomes shards of tokens on disk, hence the other two.
  'src/platform': {
    imports: ['src/runtime', 'src/model', 'src/data', 'src/tokenizer'],
    types: [...CORE, 'src/loop-lm.ts'],
  },
  'src/cli': { imports: [...LIBRARY, 'recipes'] },
  recipes: { imports: LIBRARY },
  // they measure as benchmarks do
  experiments: { imports: [...LIBRARY, 'recipes', 'benchmarks'] },
  benchmarks: { imports: [...LIBRARY, 'recipes'] },
  examples: { imports: [] },
  web: { imports: ['src/charts'] },
  test: { imports: [...LIBRARY, 'src/cli', 'recipes', 'examples', 'benchmarks', 'scripts'] },
  scripts: { imports: [] },
};

/**
 * `src/errors.ts` shares a row with `src/util`: both know no domain word. The files that the facade
 * is cut into share its row.
 */
export const SAME_AREA: Readonly<Record<string, string>> = {
  'src/errors.ts': 'src/util',
  'src/device-storage.ts': 'src/loop-lm.ts',
  'src/generate-options.ts': 'src/loop-lm.ts',
  'src/generation-request.ts': 'src/loop-lm.ts',
  'src/load-options.ts': 'src/loop-lm.ts',
  'src/weight-exchange.ts': 'src/loop-lm.ts',
};

/** A package that only some files may name. `within` is tested on the importing file's path. */
export interface PackageRule {
  readonly packages: RegExp;
  readonly within: RegExp;
  /** Where its types may be named as well. */
  readonly types?: RegExp;
  readonly todo: string;
}

const OUTSIDE_SRC = '^(?!src/)';

export const PACKAGE_RULES: readonly PackageRule[] = [
  {
    packages: /^node:/,
    within: new RegExp(`${OUTSIDE_SRC}|^src/(platform|cli)/`),
    todo: 'move it to src/platform/ and hand the core a plain value or function',
  },
  {
    packages: /^onnxruntime/,
    within: /^src\/runtime\/ort[\w-]*\.ts$/,
    types: /^test\//,
    todo: 'go through the Device interface; only src/runtime/ort*.ts name it, and load it with its telemetry off',
  },
  {
    packages: /^(?:hono|prom-client)(?:\/|$)/,
    within: /^src\/serve\//,
    todo: 'serve it with looplm/serve, which is a function from Request to Response',
  },
  {
    packages: /^(?:@hono\/node-server|pino)(?:\/|$)/,
    within: /^src\/platform\/node\/http\//,
    todo: 'use listen and jsonLog of src/platform/node/http/',
  },
  {
    packages: /^@nats-io\//,
    within: /^(?:src\/platform\/node\/nats|test\/cluster)\//,
    todo: 'use the SharedStore that src/platform/node/nats/ connects to; it is loaded only when asked for',
  },
  {
    packages: /^d3-/,
    within: /^src\/charts\//,
    todo: 'draw it with looplm/charts',
  },
];
