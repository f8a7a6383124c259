/**
 * Pictures of a looped model as SVG text, from plain numbers: so that a chart can be drawn again from
 * a file of figures. Drawn without a browser, for light and dark pages. Knows no model.
 */
export type { ErrorPanel, FrontierSeries, LossRecord } from './by-depth.js';
export type { PolicyRecord } from './by-update.js';
export { policyCurves } from './by-update.js';
export { errorByDepthChart, frontierChart, lossCurves } from './by-depth.js';
export type { DifficultySeries } from './by-difficulty.js';
export {
  accuracyByDepthChart,
  accuracyByModelChart,
  exitDepthByDifficulty,
  exitDepthHeatmap,
} from './by-difficulty.js';
export type { Line, LineChart, LinePanel } from './line-chart.js';
export { lineChart } from './line-chart.js';
export type { Scale } from './scale.js';
export type { ShareChart, SharePanel } from './share-chart.js';
export { shareChart } from './share-chart.js';
