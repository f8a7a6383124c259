/**
 * Charts of a looped model as SVG text: loss while training, accuracy and exits by difficulty, exit
 * frontiers, and errors by depth.
 *
 * Each takes plain numbers, so that a chart can be drawn again from a file of figures.
 */
import type { Panel, XAxis, YAxis } from './chart-frame.js';
import { COLORS, drawChart } from './chart-frame.js';

const WIDTH = 800;

/** A training record as far as the loss curves need it. */
export interface LossRecord {
  readonly trainStep: number;
  /** Cross-entropy at depth 1..R, in nats. */
  readonly lossPerLoop: readonly number[];
}

/** Loss at every depth against the train step, logarithmic. Records are those of metrics.jsonl. */
export function lossCurves(records: readonly LossRecord[]): string {
  const numLoops = records[0]?.lossPerLoop.length ?? 0;
  const names = depthNames(numLoops);
  const panel: Panel = {
    xAxis: { type: 'value', name: 'train step', max: 'dataMax' },
    yAxis: {
      type: 'log',
      name: 'cross-entropy (nats per label)',
      minorSplitLine: { show: true },
      axisLabel: { formatter: (value: number) => String(Number(value.toPrecision(3))) },
    },
    series: names.map((name, loopIndex) => ({
      type: 'line',
      name,
      showSymbol: false,
      lineStyle: { width: 1.5 },
      data: records.map(({ trainStep, lossPerLoop }) => [trainStep, lossPerLoop[loopIndex]!]),
    })),
  };
  return drawChart({
    title: 'Training loss by depth',
    width: WIDTH,
    height: 420,
    legend: names,
    panels: [panel],
  });
}

/** What is known of one kind of problem, by difficulty. */
export interface DifficultySeries<Value> {
  readonly name: string;
  readonly points: readonly { readonly difficulty: number; readonly value: Value }[];
}

/** Accuracy against difficulty with a line for each depth, a panel for each kind. Values `[R]`. */
export function accuracyByDepthChart(
  kinds: readonly DifficultySeries<readonly number[]>[],
): string {
  const names = depthNames(
    Math.max(...kinds.flatMap(({ points }) => points.map(({ value }) => value.length))),
  );
  return drawChart({
    title: 'Accuracy by difficulty at each depth',
    width: WIDTH,
    height: 400,
    legend: names,
    panels: kinds.map(({ name: kind, points }, index) => ({
      name: kind,
      xAxis: difficultyAxis(points),
      yAxis: { ...fractionAxis, name: index === 0 ? 'accuracy' : '' },
      series: names.map((name, loopIndex) => ({
        type: 'line',
        name,
        symbolSize: 6,
        symbol: 'circle',
        data: points.map(({ difficulty, value }) => [String(difficulty), value[loopIndex]!]),
      })),
    })),
  });
}

/** Mean exit depth against difficulty, a line for each kind. */
export function exitDepthByDifficulty(
  kinds: readonly DifficultySeries<number>[],
  numLoops: number,
): string {
  const panel: Panel = {
    xAxis: difficultyAxis(kinds.flatMap(({ points }) => points)),
    yAxis: {
      type: 'value',
      name: 'mean exit depth (loops)',
      min: 1,
      max: numLoops,
      interval: 1,
    },
    series: kinds.map(({ name, points }) => ({
      type: 'line',
      name,
      symbol: 'circle',
      symbolSize: 8,
      lineStyle: { width: 2.5 },
      data: points.map(({ difficulty, value }) => [String(difficulty), value]),
    })),
  };
  return drawChart({
    title: 'Harder problems take more loops',
    width: WIDTH,
    height: 380,
    legend: kinds.map(({ name }) => name),
    panels: [panel],
  });
}

/** Share of problems that exit at each depth, by difficulty; values `[R]`, fractions. */
export function exitDepthHeatmap(kinds: readonly DifficultySeries<readonly number[]>[]): string {
  const numLoops = Math.max(
    ...kinds.flatMap(({ points }) => points.map(({ value }) => value.length)),
  );
  return drawChart({
    title: 'Share of problems that exit at each depth',
    width: WIDTH,
    height: 330,
    legend: [],
    panels: kinds.map(({ name, points }, index) => ({
      name,
      xAxis: difficultyAxis(points),
      yAxis: categoryAxis(
        Array.from({ length: numLoops }, (_, loopIndex) => loopIndex + 1),
        index === 0 ? 'exit depth (loops)' : '',
      ),
      series: [
        {
          type: 'heatmap',
          itemStyle: { borderColor: '#ffffff', borderWidth: 1 },
          data: points.flatMap(({ difficulty, value }) =>
            value.map((share, loopIndex) => [
              String(difficulty),
              String(loopIndex + 1),
              Math.round(100 * share),
            ]),
          ),
        },
      ],
    })),
    visualMap: {
      min: 0,
      max: 100,
      show: true,
      orient: 'horizontal',
      right: 18,
      top: 8,
      itemWidth: 12,
      itemHeight: 120,
      text: ['100 %', '0 %'],
      inRange: { color: ['#f4f6f8', '#9ecae1', COLORS[0], '#08306b'] },
    },
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
  const panel: Panel = {
    xAxis: { type: 'value', name: 'mean exit depth (loops)', min: 1, max: numLoops },
    yAxis: { ...fractionAxis, name: 'accuracy', min: Math.floor(lowest * 10) / 10 },
    series: lines.map(({ name, points }) => ({
      type: 'line',
      name,
      symbol: points.length === 1 ? 'diamond' : 'circle',
      symbolSize: points.length === 1 ? 12 : 5,
      lineStyle: { width: 2 },
      data: points
        .toSorted((a, b) => a.meanDepth - b.meanDepth)
        .map(({ meanDepth, accuracy }) => [meanDepth, accuracy]),
    })),
  };
  return drawChart({
    title,
    width: WIDTH,
    height: 440,
    legend: lines.map(({ name }) => name),
    panels: [panel],
  });
}

/** One of several quantities of the same lines. */
export interface ErrorPanel<Line> {
  readonly name: string;
  /** Name of the vertical axis. */
  readonly what: string;
  /** Entry `depth - 1` belongs to `depth`; from 0. */
  of(line: Line): readonly number[];
}

/** Errors after each loop: a panel for each quantity, a line for each variant. */
export function errorByDepthChart<Line extends { readonly name: string }>(
  title: string,
  lines: readonly Line[],
  panels: readonly ErrorPanel<Line>[],
): string {
  return drawChart({
    title,
    width: WIDTH,
    height: 420,
    legend: lines.map(({ name }) => name),
    panels: panels.map(({ name, what, of }) => ({
      name,
      xAxis: categoryAxis(
        lines.length === 0 ? [] : of(lines[0]!).map((_, loopIndex) => loopIndex + 1),
        'depth (loops)',
      ),
      yAxis: { type: 'value', min: 0, name: what },
      series: lines.map((line) => ({
        type: 'line',
        name: line.name,
        symbol: 'circle',
        symbolSize: 6,
        data: of(line).map((error, loopIndex) => [String(loopIndex + 1), error]),
      })),
    })),
  });
}

const fractionAxis: YAxis = { type: 'value', min: 0, max: 1 };

/** Every difficulty of the points, rising. */
function difficultyAxis(points: readonly { readonly difficulty: number }[]): XAxis {
  const difficulties = new Set(points.map(({ difficulty }) => difficulty));
  return categoryAxis(
    [...difficulties].toSorted((a, b) => a - b),
    'difficulty (moves)',
  );
}

function categoryAxis(values: readonly number[], name: string) {
  return {
    type: 'category' as const,
    name,
    data: values.map(String),
    axisTick: { alignWithLabel: true },
    splitLine: { show: false },
  };
}

function depthNames(numLoops: number): string[] {
  return Array.from({ length: numLoops }, (_, loopIndex) => `depth ${loopIndex + 1}`);
}
