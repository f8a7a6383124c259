/**
 * What all charts share: fonts, colours, places, and the way from series to SVG text.
 *
 * The one idea: title on the first line, legend on the second, panels side by side below, each with
 * named axes; nothing can overlap. Drawn by echarts without a browser. Knows no model.
 */
import type { HeatmapSeriesOption, LineSeriesOption } from 'echarts/charts';
import { HeatmapChart, LineChart } from 'echarts/charts';
import type {
  GridComponentOption,
  LegendComponentOption,
  TitleComponentOption,
  VisualMapComponentOption,
} from 'echarts/components';
import {
  GridComponent,
  LegendComponent,
  MarkLineComponent,
  TitleComponent,
  VisualMapComponent,
} from 'echarts/components';
import type { ComposeOption } from 'echarts/core';
import { init, use } from 'echarts/core';
import { SVGRenderer } from 'echarts/renderers';

use([
  GridComponent,
  HeatmapChart,
  LegendComponent,
  LineChart,
  MarkLineComponent,
  SVGRenderer,
  TitleComponent,
  VisualMapComponent,
]);

type ChartOption = ComposeOption<
  | GridComponentOption
  | HeatmapSeriesOption
  | LegendComponentOption
  | LineSeriesOption
  | TitleComponentOption
  | VisualMapComponentOption
>;
type Single<Option> = Option extends readonly (infer Item)[] ? Item : Option;
export type XAxis = Single<NonNullable<ChartOption['xAxis']>>;
export type YAxis = Single<NonNullable<ChartOption['yAxis']>>;
export type SeriesOption = LineSeriesOption | HeatmapSeriesOption;

/** Eight colours that colour-blind readers can tell apart. Source: Okabe and Ito, jfly.uni-koeln.de/color. */
export const COLORS = [
  '#0072b2',
  '#d55e00',
  '#009e73',
  '#cc79a7',
  '#e69f00',
  '#56b4e9',
  '#7f7f7f',
  '#000000',
] as const;
const INK = '#222222';
const FAINT = '#e3e3e3';
const FONT = 'Helvetica, Arial, sans-serif';

const MARGIN = 18;
const TITLE_HEIGHT = 40;
const LEGEND_HEIGHT = 28;
const PANEL_NAME_HEIGHT = 30;
const X_AXIS_HEIGHT = 54;
const Y_AXIS_WIDTH = 52;
const PANEL_GAP = 14;

/** One coordinate system of a chart. */
export interface Panel {
  /** Above the panel; for charts of several panels. */
  readonly name?: string;
  readonly xAxis: XAxis;
  readonly yAxis: YAxis;
  readonly series: readonly SeriesOption[];
}

/** A chart of one or more panels. */
export interface ChartFrame {
  readonly title: string;
  /** Width of the picture in pixels. */
  readonly width: number;
  /** Height of the picture in pixels. */
  readonly height: number;
  /** Series that the legend names, in order; none for no legend. */
  readonly legend: readonly string[];
  readonly panels: readonly Panel[];
  readonly visualMap?: VisualMapComponentOption;
}

/** Draws a chart as SVG text with a white background. */
export function drawChart(frame: ChartFrame): string {
  const { width, height } = frame;
  const chart = init(null, null, { renderer: 'svg', ssr: true, width, height });
  try {
    chart.setOption(chartOption(frame));
    return stillPicture(chart.renderToSVGString());
  } finally {
    chart.dispose();
  }
}

function chartOption({ title, width, legend, panels, visualMap }: ChartFrame): ChartOption {
  const hasNames = panels.some(({ name }) => name !== undefined);
  const namesTop = TITLE_HEIGHT + (legend.length > 0 ? LEGEND_HEIGHT : 0);
  const top = namesTop + (hasNames ? PANEL_NAME_HEIGHT : 12);
  const pitch = (width - 2 * MARGIN + PANEL_GAP) / panels.length;
  const lefts = panels.map((_, index) => MARGIN + index * pitch + Y_AXIS_WIDTH);
  const name = (text: string, left: number, topPx: number, fontSize: number) => ({
    text,
    left,
    top: topPx,
    padding: 0,
    textStyle: { color: INK, fontFamily: FONT, fontSize, fontWeight: 'bold' as const },
  });
  return {
    animation: false,
    backgroundColor: '#ffffff',
    color: [...COLORS],
    textStyle: { color: INK, fontFamily: FONT, fontSize: 13 },
    title: [
      name(title, MARGIN, 14, 17),
      ...panels.map((panel, index) => name(panel.name ?? '', lefts[index]!, namesTop + 6, 14)),
    ],
    legend: {
      show: legend.length > 0,
      data: [...legend],
      left: MARGIN - 4,
      top: TITLE_HEIGHT,
      itemGap: 18,
      itemHeight: 10,
      textStyle: { color: INK, fontFamily: FONT, fontSize: 13 },
    },
    grid: panels.map((_, index) => ({
      left: lefts[index]!,
      width: pitch - PANEL_GAP - Y_AXIS_WIDTH,
      top,
      bottom: X_AXIS_HEIGHT,
    })),
    xAxis: panels.map(({ xAxis }, index) => axis(xAxis, index, 32)),
    yAxis: panels.map(({ yAxis }, index) => axis(yAxis, index, 36)),
    series: panels.flatMap(({ series }, index) =>
      series.map((one) => ({ ...one, xAxisIndex: index, yAxisIndex: index })),
    ),
    ...(visualMap && { visualMap }),
  };
}

function axis<Axis extends XAxis | YAxis>(option: Axis, gridIndex: number, nameGap: number): Axis {
  return {
    gridIndex,
    nameLocation: 'middle',
    nameGap,
    nameTextStyle: { color: INK, fontFamily: FONT, fontSize: 13 },
    axisLine: { show: true, lineStyle: { color: INK } },
    axisTick: { show: true },
    splitLine: { show: true, lineStyle: { color: FAINT } },
    ...option,
    axisLabel: { color: INK, fontFamily: FONT, fontSize: 12, ...option.axisLabel },
  };
}

/**
 * Without what only a mouse would see, and without the number of charts drawn before in names, so
 * that equal charts are equal text.
 */
function stillPicture(svg: string): string {
  return svg
    .replace(/<style[^]*?<\/style>\s*/, '')
    .replaceAll(/ class="zr[^"]*"| pointer-events="visible"/g, '')
    .replaceAll(/zr\d+-/g, 'zr-');
}
