/** Draws kept results as SVG: medians and rounds against their budgets, and the curves of growth. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { init, type EChartsOption } from 'echarts';
import { ROOT } from '../src-ts/wasm/builds.ts';
import { rowOfCurve, type Curve } from './curves.ts';
import type { Results } from './kept.ts';
import { median, short, type Row } from './rows.ts';

const BUDGETS = join(ROOT, 'docs', 'budgets.svg');
const GROWTH = join(ROOT, 'docs', 'growth.svg');

const MET = '#2a7f3f';
const MISSED = '#c0392b';
const INK = '#333';
const FAINT = '#e4e4e4';
const WIDTH = 1100;
const FONT = { fontFamily: 'sans-serif', fontSize: 12, color: INK };

function svgOf(option: EChartsOption, height: number): string {
  const chart = init(null, null, { renderer: 'svg', ssr: true, width: WIDTH, height });
  chart.setOption({ animation: false, backgroundColor: '#fff', textStyle: FONT, ...option });
  const svg = chart.renderToSVGString();
  chart.dispose();
  return `${svg}\n`;
}

interface Standing {
  readonly label: string;
  readonly ok: boolean;
  /** How well the budget is met, 1 is just so: the median, and the worst and the best round. */
  readonly middle: number;
  readonly worst: number;
  readonly best: number;
}

/** Rows with a budget that a ratio can be drawn of; growth has a chart of its own, and memory that does not grow has nothing to draw. */
function standingsOf(results: Results): Standing[] {
  const drawn = ({ budget, ratio, rounds }: Row): boolean =>
    budget !== undefined && ratio > 0 && rounds.every((round) => round > 0);
  return (
    Object.entries(results)
      // Statements have a page of their own.
      .filter(([name, { curves }]) => curves.length === 0 && name !== 'statements')
      .flatMap(([benchmark, { rows }]) =>
        rows.filter(drawn).map((row): Standing => {
          const against = (value: number): number => (row.atMost ? row.budget! / value : value / row.budget!);
          const rounds = row.rounds.map(against);
          return {
            label: row.name.startsWith(benchmark) ? row.name : `${benchmark}/${row.name}`,
            ok: row.ok ?? false,
            middle: against(row.ratio),
            worst: Math.min(...rounds),
            best: Math.max(...rounds),
          };
        }),
      )
  );
}

const ROW_HEIGHT = 20;
const HEAD = 60;
const FOOT = 40;
const LABELS = 540;

function budgetsOf(results: Results): string {
  const standings = standingsOf(results);
  const lowest = Math.min(...standings.map(({ worst }) => worst), 0.5);
  const highest = Math.max(...standings.map(({ best }) => best), 2);
  const colour = ({ ok }: Standing): string => (ok ? MET : MISSED);
  return svgOf(
    {
      title: {
        text: 'Budgets: 1 is the budget, more is better',
        subtext: 'the median of the rounds, and a line from the worst to the best; green: met, red: missed',
        left: 8,
        top: 4,
      },
      grid: { left: LABELS, right: 60, top: HEAD, bottom: FOOT },
      xAxis: {
        type: 'log',
        min: 10 ** Math.floor(Math.log10(lowest)),
        max: 10 ** Math.ceil(Math.log10(highest)),
        axisLabel: { formatter: (value: number) => short(value), hideOverlap: true },
        splitLine: { lineStyle: { color: FAINT } },
      },
      yAxis: {
        type: 'category',
        inverse: true,
        data: standings.map(({ label }) => label),
        axisTick: { show: false },
        axisLabel: { ...FONT, fontSize: 11, interval: 0 },
      },
      series: [
        ...standings.map((standing, i) => ({
          type: 'line' as const,
          data: [
            [standing.worst, i],
            [standing.best, i],
          ],
          symbol: 'none',
          lineStyle: { color: colour(standing), width: 2, opacity: 0.45 },
        })),
        {
          type: 'scatter',
          symbolSize: 9,
          data: standings.map((standing, i) => ({
            value: [standing.middle, i],
            itemStyle: { color: colour(standing) },
          })),
          label: {
            show: true,
            position: 'top',
            distance: 1,
            fontSize: 9,
            formatter: ({ dataIndex }) => short(standings[dataIndex]!.middle),
          },
          markLine: {
            symbol: 'none',
            silent: true,
            label: { show: false },
            lineStyle: { color: INK, type: 'dashed' },
            data: [{ xAxis: 1 }],
          },
        },
      ],
    },
    HEAD + FOOT + standings.length * ROW_HEIGHT,
  );
}

const COLOURS = ['#1f5f99', '#c26a00', '#2a7f3f', '#8e44ad', '#c0392b'];
const REFERENCE = '#999';
const COLUMNS = 2;
const PANEL_HEIGHT = 330;
const PANEL_HEAD = 92;
const TITLE_HEIGHT = 36;

function legendOf(curve: Curve): string {
  return `${curve.name}: exponent ${short(rowOfCurve(curve).ratio)}`;
}

function growthOf(curves: readonly Curve[]): string {
  const panels = new Map<string, Curve[]>();
  for (const curve of curves) {
    const title = `${curve.unit} along ${curve.along}`;
    panels.set(title, [...(panels.get(title) ?? []), curve]);
  }
  const width = WIDTH / COLUMNS;
  const places = [...panels].map(([title, drawn], i) => ({
    title,
    drawn,
    left: (i % COLUMNS) * width,
    top: TITLE_HEIGHT + Math.floor(i / COLUMNS) * PANEL_HEIGHT,
  }));
  const plain = { formatter: (value: number) => compact(value), hideOverlap: true, fontSize: 10 };
  const axis = { type: 'log' as const, axisLabel: plain, splitLine: { lineStyle: { color: FAINT } } };
  const colour = ({ isReference }: Curve, i: number): string =>
    isReference ? REFERENCE : COLOURS[i % COLOURS.length]!;
  return svgOf(
    {
      title: [
        { text: 'How costs grow, both axes logarithmic: an exponent of 1 is linear', left: 8, top: 4 },
        ...places.map(({ title, left, top }) => ({
          text: title,
          left: left + 12,
          top: top + 6,
          textStyle: { fontSize: 13 },
        })),
      ],
      legend: places.map(({ drawn, left, top }) => ({
        data: drawn.map(legendOf),
        orient: 'vertical' as const,
        left: left + 10,
        top: top + 24,
        itemHeight: 8,
        itemGap: 3,
        textStyle: { fontSize: 11 },
      })),
      grid: places.map(({ left, top }) => ({
        left: left + 60,
        width: width - 90,
        top: top + PANEL_HEAD,
        height: PANEL_HEIGHT - PANEL_HEAD - 40,
      })),
      xAxis: places.map((_, gridIndex) => ({ ...axis, gridIndex })),
      yAxis: places.map((_, gridIndex) => ({ ...axis, gridIndex })),
      series: places.flatMap(({ drawn }, index) =>
        drawn.map((curve, i) => ({
          type: 'line' as const,
          name: legendOf(curve),
          xAxisIndex: index,
          yAxisIndex: index,
          data: curve.points.map(({ at, rounds }) => [at, median(rounds)]),
          symbolSize: 5,
          color: colour(curve, i),
          lineStyle: { width: 2 },
        })),
      ),
    },
    TITLE_HEIGHT + Math.ceil(places.length / COLUMNS) * PANEL_HEIGHT,
  );
}

const STEPS = ['', ' k', ' M', ' G'];

/** 25,000,000 as 25 M. */
function compact(value: number): string {
  const step = Math.max(0, Math.min(STEPS.length - 1, Math.floor(Math.log10(value) / 3)));
  return `${Number((value / 1000 ** step).toPrecision(3))}${STEPS[step]}`;
}

/** Writes both charts into docs/. */
export function draw(results: Results): void {
  writeFileSync(BUDGETS, budgetsOf(results));
  writeFileSync(GROWTH, growthOf(Object.values(results).flatMap(({ curves }) => curves)));
}
