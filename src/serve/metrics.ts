/**
 * What the server counts, under vLLM's names, so that routers and dashboards for it read them, and under
 * `looplm:` what only looped models have.
 * Source: vLLM's metrics; Prometheus text format.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { StepReport } from '../engine/index.js';
import type { TextFinishEvent } from '../loop-lm.js';
import type { Admission } from './admission.js';
import type { WireFinishReason } from './answers/pieces.js';
import type { ServedModel } from './served-model.js';

const SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 600,
];
const ROWS = [1, 2, 4, 8, 16, 32, 64, 128, 256];
const FRACTIONS = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1];
/** Positions of a page of keys and values, as the engine has them. */
const PAGE_SIZE = 128;

/** When things happened to a request, in milliseconds of one clock. */
export interface RequestTimes {
  readonly arrivedAt: number;
  /** When its turn came. */
  admittedAt?: number;
  firstTokenAt?: number;
  lastTokenAt?: number;
}

export class Metrics {
  readonly #registry = new Registry();
  readonly #promptTokens;
  readonly #newTokens;
  readonly #successes;
  readonly #responses;
  readonly #firstToken;
  readonly #betweenTokens;
  readonly #wholeRequest;
  readonly #queue;
  readonly #prefill;
  readonly #decode;
  readonly #iterationTokens;
  readonly #exitDepth;
  readonly #loopsSaved;
  readonly #acceptedDrafts;
  readonly #batchRows;

  constructor(modelName: string, model: ServedModel, admission: Admission) {
    const { numLoops } = model.config;
    const registers = [this.#registry];
    this.#registry.setDefaultLabels({ model_name: modelName });
    const gauge = (name: string, help: string, read: () => number) =>
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(read());
        },
      });
    const counter = (name: string, help: string) => new Counter({ name, help, registers });
    const seconds = (name: string, help: string) =>
      new Histogram({ name: `vllm:${name}_seconds`, help, buckets: SECONDS, registers });

    gauge(
      'vllm:num_requests_running',
      'Sequences that are computed.',
      () => model.stats.numRunning,
    );
    gauge(
      'vllm:num_requests_waiting',
      'Requests and sequences that wait for their turn.',
      () => admission.numWaiting + model.stats.numWaiting,
    );
    gauge('vllm:kv_cache_usage_perc', 'Used part of the cache, 0 to 1; 0 without a bound.', () => {
      const { numPagesUsed, maxPages } = model.stats;
      return Number.isFinite(maxPages) && maxPages > 0 ? numPagesUsed / maxPages : 0;
    });
    gauge(
      'looplm:kv_cache_pages',
      'Pages of keys and values in use.',
      () => model.stats.numPagesUsed,
    );
    gauge(
      'looplm:weights_version',
      'Updates behind the weights.',
      () => model.stats.weightsVersion,
    );
    gauge('looplm:is_paused', '1 while nothing is computed.', () => Number(model.stats.isPaused));
    gauge('looplm:is_draining', '1 once no new requests are taken.', () =>
      Number(admission.isEnding),
    );
    const total = (name: string, help: string, read: () => number) => {
      const own = new Counter({
        name,
        help,
        registers,
        collect() {
          this.reset();
          this.inc(read());
        },
      });
      return own;
    };
    total(
      'vllm:num_preemptions_total',
      'How often a sequence gave its memory to others.',
      () => model.stats.numPreemptions,
    );
    total(
      'vllm:prefix_cache_queries_total',
      'Prompt tokens that were looked up in the prefix cache.',
      () => model.stats.numPromptTokens,
    );
    total(
      'vllm:prefix_cache_hits_total',
      'Prompt tokens that were found there.',
      () => model.stats.numCachedTokens,
    );
    total(
      'looplm:loops_run_total',
      'Loops of tokens that were computed.',
      () => model.stats.numExecuted,
    );
    this.#promptTokens = counter('vllm:prompt_tokens_total', 'Tokens of prompts.');
    this.#newTokens = counter('vllm:generation_tokens_total', 'Tokens of answers.');
    this.#successes = new Counter({
      name: 'vllm:request_success_total',
      help: 'Sequences that ended, by what ended them.',
      labelNames: ['finished_reason'],
      registers,
    });
    this.#responses = new Counter({
      name: 'looplm:http_responses_total',
      help: 'Answers by route and status.',
      labelNames: ['route', 'status'],
      registers,
    });
    this.#firstToken = seconds('time_to_first_token', 'From arrival to the first token.');
    this.#betweenTokens = seconds('inter_token_latency', 'Between two tokens of a sequence.');
    this.#wholeRequest = seconds('e2e_request_latency', 'From arrival to the end.');
    this.#queue = seconds('request_queue_time', 'From arrival to the turn.');
    this.#prefill = seconds('request_prefill_time', 'From the turn to the first token.');
    this.#decode = seconds('request_decode_time', 'From the first token to the last.');
    this.#iterationTokens = new Histogram({
      name: 'vllm:iteration_tokens_total',
      help: 'Rows of a step; a row is one loop of one token.',
      buckets: ROWS,
      registers,
    });
    this.#exitDepth = new Histogram({
      name: 'looplm:exit_depth',
      help: 'Loops that a new token took.',
      buckets: Array.from({ length: numLoops }, (_, index) => index + 1),
      registers,
    });
    this.#loopsSaved = new Histogram({
      name: 'looplm:loops_saved_fraction',
      help: 'Part of the loops of full depth that a sequence did not run.',
      buckets: FRACTIONS,
      registers,
    });
    this.#acceptedDrafts = new Histogram({
      name: 'looplm:accepted_drafts_fraction',
      help: 'Part of the guessed tokens of a sequence that were right.',
      buckets: FRACTIONS,
      registers,
    });
    this.#batchRows = new Histogram({
      name: 'looplm:batch_rows',
      help: 'Rows of a step by the loop that they run, from 1.',
      labelNames: ['loop'],
      buckets: ROWS,
      registers,
    });
    new Gauge({
      name: 'vllm:cache_config_info',
      help: 'How the cache of keys and values is set up.',
      labelNames: ['block_size', 'num_gpu_blocks', 'enable_prefix_caching'],
      registers,
    }).set(
      {
        block_size: PAGE_SIZE,
        // routers read a number, or nothing
        num_gpu_blocks: Number.isFinite(model.stats.maxPages) ? String(model.stats.maxPages) : '',
        enable_prefix_caching: 'True',
      },
      1,
    );
    // names without a value yet would be missing on a dashboard
    for (const finished_reason of ['stop', 'length', 'abort', 'error']) {
      this.#successes.inc({ finished_reason }, 0);
    }
  }

  get contentType(): string {
    return this.#registry.contentType;
  }

  async text(): Promise<string> {
    return this.#registry.metrics();
  }

  /** A step of the engine. */
  step({ rowsByLoop }: StepReport): void {
    this.#iterationTokens.observe(rowsByLoop.reduce((sum, rows) => sum + rows, 0));
    for (const [loopIndex, rows] of rowsByLoop.entries()) {
      if (rows > 0) this.#batchRows.observe({ loop: loopIndex + 1 }, rows);
    }
  }

  /** An answer on its way. */
  response(route: string, status: number): void {
    this.#responses.inc({ route, status });
  }

  /** A new token of a sequence, and how long after the one before it. */
  token(exitDepth: number, betweenMs: number | undefined): void {
    this.#newTokens.inc();
    this.#exitDepth.observe(exitDepth);
    if (betweenMs !== undefined) this.#betweenTokens.observe(betweenMs / 1000);
  }

  /** The end of a sequence. */
  sequence(reason: WireFinishReason, finish: TextFinishEvent): void {
    this.#successes.inc({ finished_reason: reason });
    if (finish.fullDepthLoops > 0) {
      this.#loopsSaved.observe(Math.max(0, 1 - finish.executedLoops / finish.fullDepthLoops));
    }
    if (finish.draftedTokens > 0) {
      this.#acceptedDrafts.observe(finish.acceptedTokens / finish.draftedTokens);
    }
  }

  /** Sequences that ended without their answer. */
  failed(reason: 'abort' | 'error', count: number): void {
    if (count > 0) this.#successes.inc({ finished_reason: reason }, count);
  }

  /** Tokens of a prompt whose turn has come. */
  prompt(numTokens: number): void {
    this.#promptTokens.inc(numTokens);
  }

  /** The end of a request. */
  request({ arrivedAt, admittedAt, firstTokenAt, lastTokenAt }: RequestTimes, now: number): void {
    this.#wholeRequest.observe((now - arrivedAt) / 1000);
    if (admittedAt === undefined) return;
    this.#queue.observe((admittedAt - arrivedAt) / 1000);
    if (firstTokenAt === undefined) return;
    this.#firstToken.observe((firstTokenAt - arrivedAt) / 1000);
    this.#prefill.observe((firstTokenAt - admittedAt) / 1000);
    this.#decode.observe(((lastTokenAt ?? firstTokenAt) - firstTokenAt) / 1000);
  }
}
