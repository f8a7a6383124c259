/**
 * `looplm serve`: a model over HTTP, as OpenAI's clients ask.
 *
 * The first Ctrl-C or SIGTERM lets what is under way end and takes nothing new; a second one ends now.
 * Where a balancer asks (`--agent-port`), it is told first, so that nobody comes to a closed door.
 */
import { realpath } from 'node:fs/promises';
import { basename, join, resolve, sep } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Command, Option } from 'commander';
import { EXIT_POLICY_FORMS } from '../../engine/index.js';
import { ConfigError, FileError } from '../../errors.js';
import type { LoopLM } from '../../loop-lm.js';
import {
  jsonLog,
  listen,
  readAssets,
  serveAgentCheck,
  terminalLog,
} from '../../platform/node/http/index.js';
import type { Folder } from '../../model/index.js';
import { nodeFolder } from '../../platform/node/files/index.js';
import { packageFolder } from '../../platform/node/bundled-model.js';
import { packageVersion } from '../../platform/node/version.js';
import type { ServeOptions } from '../../serve/index.js';
import { LOGPROBS_MODES, createServeApp, errorBody } from '../../serve/index.js';
import { CHAT_TEMPLATE_NAMES, chatTemplateOf } from '../chat-template.js';
import type { CliIo } from '../io.js';
import type { ModelFlags } from '../model-flags.js';
import { addEngineFlags, withModel } from '../model-flags.js';
import { collect, parseCount, wholeFrom } from '../parse-flags.js';

interface Flags extends ModelFlags {
  readonly port: number;
  readonly agentPort?: number;
  readonly host: string;
  readonly apiKey?: readonly string[];
  readonly cors?: readonly string[];
  readonly allowHost?: readonly string[];
  readonly servedModelName?: string;
  readonly chatTemplate?: string;
  readonly exitPolicy?: string;
  readonly maxSequences: number;
  readonly maxQueue: number;
  readonly requestTimeout: number;
  readonly logprobsMode: NonNullable<ServeOptions['logprobsMode']>;
  readonly allowWeightUpdates?: string | true;
  readonly logPrompts?: true;
}

const EXAMPLES = `
Routes: /v1/chat/completions, /v1/completions, /v1/responses, /v1/models, /tokenize, /detokenize,
/tokenizer_info, /health, /ready, /metrics, /version, /openapi.json; a playground at /.

Examples:
  looplm serve                                   the bundled model, on this machine only
  looplm serve --model ./my-chat-model --port 9000
  looplm serve --model ./my-base-model --chat-template chatml-corrected --served-model-name mine
  LOOPLM_API_KEY=secret looplm serve --host 0.0.0.0
  LOOPLM_API_KEY=secret looplm serve --host 0.0.0.0 --agent-port 8081    a replica behind HAProxy
  LOOPLM_API_KEY=secret looplm serve --allow-weight-updates ./weights --logprobs-mode processed_logprobs
`;

/** What the playground offers to ask the bundled model. */
const BUNDLED_EXAMPLES = [
  "Cid's boss is Ann. Ann's boss is Dan. Who is Cid's boss's boss?",
  'The ball is under cup 1. Swap cups 1 and 2. Swap cups 2 and 5. Where is the ball?',
  "What is France's largest neighbour's capital?",
  'Rosa has 12 apples. Rosa buys 9 more. Rosa gives 4 away. How many apples does Rosa have?',
];

const BUNDLED_NAME = 'looplm-bundled';
const MAX_TIMEOUT_SECONDS = 1_000_000;
/** Longer than a balancer takes from one agent-check to the next. */
const BALANCER_LEARNS_MS = 2000;
/** What a server on this machine is called by those on it. */
const LOOPBACK_NAMES = ['localhost', '127.0.0.1', '[::1]'];

export function registerServe(program: Command, io: CliIo): void {
  const command = program
    .command('serve')
    .description("serve a model over HTTP, as OpenAI's clients ask")
    .addHelpText('after', EXAMPLES);
  addEngineFlags(command)
    .option('--port <n>', 'port to listen on; 0 for any that is free', wholeFrom(0, 65535), 8080)
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option(
      '--agent-port <n>',
      "port on which HAProxy's agent-check is told how much is free",
      wholeFrom(1, 65535),
    )
    .option(
      '--api-key <key>',
      'key that requests must have; may be repeated (or LOOPLM_API_KEY)',
      collect,
    )
    .option(
      '--cors <origin>',
      'other site whose pages may ask; may be repeated, * for all',
      collect,
    )
    .option(
      '--allow-host <name>',
      'name that the server is called by, too; may be repeated',
      collect,
    )
    .option('--served-model-name <name>', 'what clients call the model')
    .option(
      '--chat-template <source>',
      `instead of the model's own: ${CHAT_TEMPLATE_NAMES}, or a file with a Jinja template`,
    )
    .option(
      '--exit-policy <spec>',
      `when a token stops looping, where a request does not say: ${EXIT_POLICY_FORMS} (default: the model's)`,
    )
    .option('--max-sequences <n>', 'sequences that are computed at a time', parseCount, 64)
    .option('--max-queue <n>', 'requests that may wait for them', wholeFrom(0), 1024)
    .option(
      '--request-timeout <seconds>',
      'after which a request is given up',
      wholeFrom(1, MAX_TIMEOUT_SECONDS),
      600,
    )
    .addOption(
      new Option('--logprobs-mode <mode>', 'of the model, or those with which tokens are drawn')
        .choices(LOGPROBS_MODES)
        .default('raw_logprobs'),
    )
    .option(
      '--allow-weight-updates [folder]',
      'lets trainers in, with a key: they give the server weights, from within this folder',
    )
    .option('--log-prompts', 'write prompts and answers to the log, too')
    .action(async (flags: Flags) => {
      const keys = keysOf(flags, io);
      checkReach(flags, keys);
      const updatable = flags.allowWeightUpdates !== undefined;
      const load = { ...flags, updatable, showsPlan: true };
      await withModel(load, io, (model) => serve(model, flags, keys, io));
    });
}

async function serve(
  model: LoopLM,
  flags: Flags,
  keys: readonly string[],
  io: CliIo,
): Promise<void> {
  const app = createServeApp(model, await optionsOf(model, flags, keys, io));
  const { host, port, agentPort } = flags;
  await using agent =
    agentPort === undefined
      ? undefined
      : await serveAgentCheck(() => app.capacity(), { host, port: agentPort });
  const listener = await listen(app.fetch, { host, port, errorBody });
  const stopped = new Promise<void>((stop) => io.onInterrupt(stop));
  io.stdout.write(`looplm is ready: ${nameOf(flags)} at ${listener.url}\n`);
  await stopped;
  io.stderr.write(
    'Ending: what is under way is finished, and nothing new is taken. Again to end now.\n',
  );
  await app.drain(agent && sleep(BALANCER_LEARNS_MS));
  await listener.close();
}

async function optionsOf(
  model: LoopLM,
  flags: Flags,
  apiKeys: readonly string[],
  io: CliIo,
): Promise<ServeOptions> {
  const { allowHost = [], cors = [], host, maxQueue, maxSequences, logPrompts } = flags;
  const { exitPolicy } = flags;
  const isBundled = flags.model === undefined;
  const { allowWeightUpdates: within } = flags;
  const write = (line: string) => void io.stderr.write(line);
  const allowedHosts = isLoopback(host) || allowHost.length > 0;
  return {
    modelName: nameOf(flags),
    version: packageVersion(),
    apiKeys,
    corsOrigins: cors,
    ...(allowedHosts && { allowedHosts: [...new Set([...LOOPBACK_NAMES, host, ...allowHost])] }),
    exitPolicy,
    maxSequences,
    maxQueue,
    requestTimeoutMs: 1000 * flags.requestTimeout,
    logprobsMode: flags.logprobsMode,
    ...(within !== undefined && { trainers: { openFolder: folderOpener(within) } }),
    logPrompts,
    log: io.stderr.isTTY ? terminalLog(write, () => new Date()) : jsonLog(write),
    assets: await readAssets(join(packageFolder(), 'dist', 'web')),
    ...(isBundled && { examples: BUNDLED_EXAMPLES }),
    chatTemplate:
      flags.chatTemplate === undefined
        ? undefined
        : await chatTemplateOf(flags.chatTemplate, model),
  };
}

/** Opens folders of weights, within one folder if that was said. */
function folderOpener(within: string | true): (path: string) => Promise<Folder> {
  return async (path) => {
    const absolute = await realpath(resolve(path)).catch(() => {
      throw new FileError(path, `There is no folder ${path} on the machine of the server.`);
    });
    const root = within === true ? undefined : await realpath(resolve(within));
    if (root !== undefined && !`${absolute}${sep}`.startsWith(`${root}${sep}`)) {
      throw new FileError(
        path,
        `${path} is not within the folder of --allow-weight-updates; write the weights there.`,
      );
    }
    return nodeFolder(absolute);
  };
}

/** A name of the hub as it is, a folder by its last part. */
function nameOf({ servedModelName, model }: Flags): string {
  if (servedModelName !== undefined) return servedModelName;
  if (model === undefined) return BUNDLED_NAME;
  return /^[\w-]+(?:\.[\w-]+)*\/[\w.-]+$/.test(model) ? model : basename(model);
}

function keysOf({ apiKey = [] }: Flags, { env }: CliIo): readonly string[] {
  const fromEnvironment = env['LOOPLM_API_KEY'];
  const keys = [...apiKey, ...(fromEnvironment === undefined ? [] : [fromEnvironment])];
  for (const key of keys) {
    if (/^[\x21-\x7e]+$/.test(key)) continue;
    throw new ConfigError(
      'api-key',
      'A key of --api-key or LOOPLM_API_KEY is empty or has blanks or other characters than ASCII; headers cannot carry it. Take letters and digits.',
    );
  }
  return keys;
}

/** Who can be reached by others, or takes weights, asks for a key. */
function checkReach({ host, allowWeightUpdates }: Flags, keys: readonly string[]): void {
  if (allowWeightUpdates !== undefined && keys.length === 0) {
    throw new ConfigError(
      'allow-weight-updates',
      '--allow-weight-updates lets others exchange the weights; give --api-key KEY or set LOOPLM_API_KEY, so that only trainers can.',
    );
  }
  if (keys.length > 0 || isLoopback(host)) return;
  throw new ConfigError(
    'host',
    `--host is ${host}, where others can reach the server; give --api-key KEY or set LOOPLM_API_KEY, so that only those who know it are served.`,
  );
}

function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(?:\.\d+){3}$/.test(host);
}
