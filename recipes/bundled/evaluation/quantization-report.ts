/**
 * The figures of quantisation as a table of the model card and as a picture.
 */
import { errorByDepthChart } from 'looplm/charts';
import { meanRows } from 'looplm/eval';
import type { QuantizationFigures } from './quantization-figures.js';
import { percent, table } from './markdown.js';

/** The section of the model card, without its heading. */
export function quantizationTables(figures: QuantizationFigures): string {
  const { provenance, exitThreshold, variants } = figures;
  const depths = variants[0]!.stateErrorByDepth.map((_, loopIndex) => `depth ${loopIndex + 1}`);
  const accuracies = variants.map((variant) => [
    variant.name,
    ...meanRows(Object.values(variant.accuracyByDepth)).map(percent),
    percent(variant.exit.accuracy),
    variant.exit.meanDepth.toFixed(2),
    percent(variant.exit.equalDepths),
    variant.exit.depthDifference.toFixed(3),
  ]);
  const converted = variants.slice(1);
  const errors = converted.map(({ name, sizeBytes, weightError, stateErrorByDepth }) => [
    name,
    `${(sizeBytes / 1e6).toFixed(2)} MB`,
    ...[weightError, ...stateErrorByDepth].map((error) => `${(100 * error).toFixed(2)} %`),
  ]);
  const divergences = converted.map(({ name, klByDepth }) => [name, ...klByDepth.map(smallNumber)]);
  const rounded = converted.filter(({ weightError }) => weightError > 0);
  const factors = rounded.map(({ stateErrorByDepth: error }) => error.at(-1)! / error[0]!);
  const growth = [Math.min(...factors), Math.max(...factors)].map((factor) => factor.toFixed(1));
  return [
    `Converted files, multiplied as they are stored, on ${provenance.questions} questions as somebody types them; accuracies and exits are means over tasks. "q4 64" has four bits in blocks of 64, rounded to nearest; "search" looks for the scale of least error, and "calibrated" weighs that error by what the matrices read in ${provenance.calibrationTokens} tokens of training text, over all loops. In q4 the head has eight bits. "i8 cache" has keys and values in 8 bits with a scale for every 32 dimensions of a position. The exit columns are under \`cdf:${exitThreshold}\`: accuracy, mean depth, and how often and by how many loops answers exit elsewhere than in f32.`,
    table(['numbers', ...depths, 'at exit', 'exit depth', 'same exit', 'difference'], accuracies),
    `Error of the weights (mean over the matrices of the layers) and of the states after each loop, relative to their size. From the first loop to the last the error that rounded weights make in the states grows by a factor of ${growth.join(' to ')}.`,
    table(['numbers', 'file', 'weight error', ...depths], errors),
    'KL divergence of the answers from those of f32, in nats:',
    table(['numbers', ...depths], divergences),
  ].join('\n\n');
}

/** One lies on the axis, the other on the line of q8. */
const HIDDEN_LINES = new Set(['f16 cache', 'q8, i8 cache']);

function smallNumber(value: number): string {
  return value < 1e-3 ? value.toExponential(1) : value.toPrecision(2);
}

/** SVG text: error of states and answers by depth, a line for each variant that can be told apart. */
export function quantizationChart({ variants }: QuantizationFigures): string {
  const shown = variants.slice(1).filter(({ name }) => !HIDDEN_LINES.has(name));
  return errorByDepthChart('What quantisation costs at each depth', shown, [
    {
      name: 'hidden states',
      what: 'relative error',
      of: ({ stateErrorByDepth }) => stateErrorByDepth,
    },
    { name: 'answers', what: 'KL divergence from f32 (nats)', of: ({ klByDepth }) => klByDepth },
  ]);
}
