//! Charts of the results: SVG on a white ground, so that they can be read on a dark page, too.

use std::ops::Range;

use plotters::coord::Shift;
use plotters::coord::ranged1d::{AsRangedCoord, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;

use super::chart::{DrawError, DrawResult};
use super::job::StrategyKind;
use super::results::{
    BenchMetric, CPU, OPENED, P50, PEAK, Results, SOCKETS, StrategyResults, THROUGHPUT,
};

const FIGURES: (&str, &str) = ("figures.svg", "Three ways to do the same work");
const RESPONSE: (&str, &str) = ("response.svg", "Response time: calls answered within");
const CONNECTIONS: (&str, &str) = ("connections.svg", "Open connections during the open loop");

/// The files and what they show.
pub(super) const CHARTS: [(&str, &str); 3] = [FIGURES, RESPONSE, CONNECTIONS];

const SIZE: (u32, u32) = (900, 420);
const INK: RGBColor = RGBColor(36, 41, 46);
const GRID: RGBColor = RGBColor(225, 228, 232);

/// What the figures chart shows, in two rows.
const PANELS: [BenchMetric; 6] = [OPENED, P50, THROUGHPUT, CPU, SOCKETS, PEAK];
const PANELS_IN_A_ROW: usize = 3;

type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Axes<'a, X> = ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, RangedCoordf64>>;
type Draw = fn(&Results, &Canvas<'_>) -> DrawResult;
/// What it is called, and what draws it.
type Chart = ((&'static str, &'static str), Draw);

/// Draws every chart: the names of the files and what is in them.
pub(super) fn all(results: &Results) -> Vec<(&'static str, String)> {
    let charts: [Chart; 3] = [(FIGURES, figures), (RESPONSE, response), (CONNECTIONS, connections)];
    charts.into_iter().map(|(about, chart)| (about.0, draw(results, about.1, chart))).collect()
}

fn draw(results: &Results, title: &str, chart: Draw) -> String {
    let mut text = String::new();
    let canvas = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
    let drawn = canvas
        .fill(&WHITE)
        .and_then(|()| canvas.titled(title, ("sans-serif", 18).into_font().color(&INK)))
        .and_then(|canvas| chart(results, &canvas))
        .and_then(|()| canvas.present());
    drawn.expect("BUG: a drawing in memory cannot fail");
    drop(canvas);
    text
}

fn colour(strategy: StrategyKind) -> RGBColor {
    match strategy {
        StrategyKind::PerRequest => RGBColor(214, 118, 40),
        StrategyKind::Kept => RGBColor(140, 149, 159),
        StrategyKind::Telepool => RGBColor(31, 96, 196),
    }
}

/// Bars of the figures that have targets.
fn figures(results: &Results, canvas: &Canvas<'_>) -> DrawResult {
    let areas =
        canvas.margin(6, 6, 16, 16).split_evenly((PANELS.len() / PANELS_IN_A_ROW, PANELS_IN_A_ROW));
    for (metric, area) in PANELS.into_iter().zip(areas) {
        panel(metric, &results.strategies, &area)?;
    }
    Ok(())
}

fn panel(metric: BenchMetric, strategies: &[StrategyResults], area: &Canvas<'_>) -> DrawResult {
    let text = |size: u32| ("sans-serif", size, &INK).into_text_style(area);
    area.draw_text(&metric.title(), &text(14), (4, 10))?;
    let most = strategies.iter().filter_map(metric.of).fold(0.0, f64::max);
    // Names stand to the left of the bars, figures to the right.
    let (width, _) = area.dim_in_pixel();
    let (left, room) = (88, f64::from(width) - 88.0 - 70.0);
    for (row, it) in (0..).zip(strategies) {
        let y = 42 + row * 38;
        area.draw_text(&it.strategy.to_string(), &text(12), (4, y + 6))?;
        let share = (metric.of)(it).filter(|_| most > 0.0).map_or(0.0, |value| value / most);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a bar is as wide as its panel at most"
        )]
        let end = left + (share * room).round() as i32;
        area.draw(&Rectangle::new(
            [(left, y), (end.max(left + 1), y + 22)],
            colour(it.strategy).filled(),
        ))?;
        area.draw_text(&metric.text(it), &text(12), (end + 6, y + 6))?;
    }
    Ok(())
}

/// Which part of all calls was answered within how long.
fn response(results: &Results, canvas: &Canvas<'_>) -> DrawResult {
    let times = || results.strategies.iter().flat_map(|it| &it.response.within).map(|(_, ms)| *ms);
    let least = times().fold(f64::INFINITY, f64::min).clamp(0.1, 1e6);
    let most = times().fold(least * 2.0, f64::max);
    let time = (least * 0.8..most * 1.2).log_scale();
    let names = ("milliseconds from the arrival of a call to its answer", "% of calls");
    let mut chart = axes(canvas, time, 0.0..100.0, names)?;
    for it in &results.strategies {
        let points = it.response.within.iter().map(|(percent, ms)| (*ms, *percent));
        let begin = points.clone().next().map(|(ms, _)| (ms, 0.0));
        line(&mut chart, it.strategy, begin.into_iter().chain(points))?;
    }
    legend(&mut chart, SeriesLabelPosition::LowerRight)
}

/// How many connections were open when.
fn connections(results: &Results, canvas: &Canvas<'_>) -> DrawResult {
    let samples = || results.strategies.iter().flat_map(|it| &it.samples);
    let end = samples().map(|it| it.at_s).fold(1.0, f64::max);
    let most = samples().map(|it| it.sockets as f64).fold(1.0, f64::max);
    let mut chart = axes(canvas, 0.0..end, 0.0..most * 1.15, ("seconds", "connections"))?;
    for it in &results.strategies {
        let points = it.samples.iter().map(|sample| (sample.at_s, sample.sockets as f64));
        line(&mut chart, it.strategy, points)?;
    }
    legend(&mut chart, SeriesLabelPosition::MiddleRight)
}

/// Two axes with whole numbers, and a mesh between them.
fn axes<'a, X>(
    canvas: &Canvas<'a>,
    x: X,
    y: Range<f64>,
    (x_name, y_name): (&str, &str),
) -> Result<Axes<'a, X::CoordDescType>, DrawError>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64>,
{
    let mut chart = ChartBuilder::on(canvas)
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(52)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style(("sans-serif", 13, &INK))
        .x_desc(x_name)
        .y_desc(y_name)
        .x_label_formatter(&|value| format!("{value:.0}"))
        .y_label_formatter(&|value| format!("{value:.0}"))
        .draw()?;
    Ok(chart)
}

fn line<'a, X>(
    chart: &mut Axes<'a, X>,
    strategy: StrategyKind,
    points: impl Iterator<Item = (f64, f64)>,
) -> DrawResult
where
    X: Ranged<ValueType = f64>,
{
    let style = colour(strategy).stroke_width(2);
    chart
        .draw_series(LineSeries::new(points, style))?
        .label(strategy.to_string())
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    Ok(())
}

fn legend<'a, X>(chart: &mut Axes<'a, X>, position: SeriesLabelPosition) -> DrawResult
where
    X: Ranged<ValueType = f64>,
{
    chart
        .configure_series_labels()
        .position(position)
        .background_style(WHITE)
        .border_style(GRID)
        .label_font(("sans-serif", 13, &INK))
        .draw()
}
