/** What depth buys: loss while training, frontiers of exit policies, errors after each loop. */
import { lineChart } from './line-chart.js';
import { depthNames, fraction } from './names.js';

/** A training record as far as the loss curves need it. */
export interface LossRecord {
  readonly trainStep: number;
  /** Cross-entropy at depth 1..R, in nats; R may change on the way. */
  readonly lossPerLoop: readonly number[];
}

/** Loss at every depth against the train step, logarithmic. Records are those of metrics.jsonl. */
export function lossCurves(records: readonly LossRecord[]): string {
  const names = depthNames(Math.max(0, ...records.map(({ lossPerLoop }) => lossPerLoop.length)));
  return lineChart({
    title: 'Training loss by depth',
    isOrdered: true,
    hasMarkers: false,
    panels: [
      {
        x: { name: 'train step', max: Math.max(...records.map(({ trainStep }) => trainStep)) },
        y: { name: 'cross-entropy (nats per label)', kind: 'log' },
        lines: names.map((name, loopIndex) => ({
          name,
          points: records
            .filter(({ lossPerLoop }) => loopIndex < lossPerLoop.length)
            .map(({ trainStep, lossPerLoop }) => [trainStep, lossPerLoop[loopIndex]!]),
        })),
      },
    ],
  });
}

/** A line of points of accuracy against mean depth. */
export interface FrontierSeries {
  readonly name: string;
  readonly points: readonly { readonly meanDepth: number; readonly accuracy: number }[];
}

/** Accuracy against mean depth, one line for each policy; single points stand alone. */
export function frontierChart(
  title: string,
  lines: readonly FrontierSeries[],
  numLoops: number,
): string {
  const lowest = Math.min(...lines.flatMap(({ points }) => points.map(({ accuracy }) => accuracy)));
  return lineChart({
    title,
    panels: [
      {
        x: { name: 'mean exit depth (loops)', min: 1, max: numLoops },
        y: { ...fraction, name: 'accuracy', min: Math.floor(lowest * 10) / 10, max: 1 },
        lines: lines.map(({ name, points }) => ({
          name,
          points: points
            .toSorted((a, b) => a.meanDepth - b.meanDepth)
            .map(({ meanDepth, accuracy }) => [meanDepth, accuracy]),
        })),
      },
    ],
  });
}

/** One of several quantities of the same lines. */
export interface ErrorPanel<Variant> {
  readonly name: string;
  /** Name of the vertical axis. */
  readonly what: string;
  /** Entry `depth - 1` belongs to `depth`; from 0. */
  of(variant: Variant): readonly number[];
}

/** Errors after each loop: a panel for each quantity, a line for each variant. */
export function errorByDepthChart<Variant extends { readonly name: string }>(
  title: string,
  variants: readonly Variant[],
  panels: readonly ErrorPanel<Variant>[],
): string {
  return lineChart({
    title,
    panels: panels.map(({ name, what, of }) => {
      const numLoops = Math.max(...variants.map((variant) => of(variant).length));
      return {
        name,
        x: {
          name: 'depth (loops)',
          min: 0.75,
          max: numLoops + 0.25,
          ticks: Array.from({ length: numLoops }, (_, loopIndex) => loopIndex + 1),
        },
        y: { name: what, min: 0 },
        lines: variants.map((variant) => ({
          name: variant.name,
          points: of(variant).map((error, loopIndex) => [loopIndex + 1, error]),
        })),
      };
    }),
  });
}
