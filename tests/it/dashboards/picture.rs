//! Pictures of the dashboards, drawn from what Prometheus has seen.
//!
//! They show what a panel's queries answer, in the panel's place and unit, and in its colours where
//! it names any. All else is Grafana's own affair.

use std::collections::BTreeMap;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use serde_json::Value;

/// What a query answered over time.
#[derive(Clone, Debug)]
pub(super) struct Series {
    /// As the legend says.
    pub(super) name: String,
    /// By seconds; what was no number is none.
    pub(super) points: Vec<(f64, f64)>,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Pixels for a step of the grid, which is 24 wide.
const CELL: (i32, i32) = (56, 30);
const COLOURS: [RGBColor; 9] = [
    RGBColor(115, 191, 105),
    RGBColor(87, 148, 242),
    RGBColor(242, 204, 12),
    RGBColor(255, 152, 48),
    RGBColor(242, 73, 92),
    RGBColor(184, 119, 217),
    RGBColor(55, 135, 45),
    RGBColor(31, 96, 196),
    RGBColor(143, 59, 184),
];
const INK: RGBColor = RGBColor(36, 41, 46);
const LINES: RGBColor = RGBColor(208, 214, 220);

/// The colour of a series: what the panel says of it, or the next in turn.
fn colour_of(panel: &Value, name: &str, index: usize) -> RGBColor {
    let overrides = panel["fieldConfig"]["overrides"].as_array().into_iter().flatten();
    let mut properties = overrides
        .filter(|it| it["matcher"]["options"] == name)
        .flat_map(|it| it["properties"].as_array().into_iter().flatten());
    let named = properties.find(|it| it["id"] == "color");
    match named.and_then(|it| it["value"]["fixedColor"].as_str()) {
        Some("green") => COLOURS[0],
        Some("blue") => COLOURS[1],
        Some("yellow") => COLOURS[2],
        Some("orange") => COLOURS[3],
        Some("red") => COLOURS[4],
        Some("purple") => COLOURS[5],
        Some("dark-red") => RGBColor(173, 3, 23),
        Some(other) => panic!("the colour {other} is not known here"),
        None => COLOURS[index % COLOURS.len()],
    }
}

/// A number as a panel of this unit shows it.
fn shown(value: f64, unit: &str) -> String {
    let short = |value: f64| match value {
        value if value.fract() == 0.0 && value.abs() < 1e6 => format!("{value}"),
        value if value.abs() >= 100.0 => format!("{value:.0}"),
        value if value.abs() >= 1.0 => format!("{value:.1}"),
        value => format!("{value:.3}"),
    };
    match unit {
        "percentunit" => format!("{:.1} %", value * 100.0),
        "bytes" => format!("{:.1} MiB", value / f64::from(1 << 20)),
        "ops" => format!("{}/s", short(value)),
        "s" if value != 0.0 && value < 1.0 => format!("{} ms", short(value * 1000.0)),
        "s" => format!("{} s", short(value)),
        _ => short(value),
    }
}

/// The whole dashboard. `answers` are the series of a panel's queries, named as its legend says.
pub(super) fn draw(board: &Value, file: &Path, answers: impl Fn(&Value) -> Vec<Series>) {
    let panels = board["panels"].as_array().unwrap();
    let place = |panel: &Value| {
        let of = |name: &str| i32::try_from(panel["gridPos"][name].as_i64().unwrap()).unwrap();
        (of("x"), of("y"), of("w"), of("h"))
    };
    let bottom = panels.iter().map(|it| place(it).1 + place(it).3).max().unwrap();
    let size = (24 * CELL.0, (bottom + 2) * CELL.1);
    let root = SVGBackend::new(file, (size.0.unsigned_abs(), size.1.unsigned_abs()));
    let root = root.into_drawing_area();
    root.fill(&WHITE).unwrap();
    let title = board["title"].as_str().unwrap();
    root.draw_text(title, &("sans-serif", 24, &INK).into_text_style(&root), (12, 16)).unwrap();
    for panel in panels {
        let (x, y, width, height) = place(panel);
        let from = (x * CELL.0, (y + 2) * CELL.1);
        let to = (from.0 + width * CELL.0, from.1 + height * CELL.1);
        let area = root.clone().shrink(
            (from.0 + 4, from.1 + 4),
            ((to.0 - from.0 - 8).unsigned_abs(), (to.1 - from.1 - 8).unsigned_abs()),
        );
        match panel["type"].as_str().unwrap() {
            "row" => {
                let style = ("sans-serif", 18, &INK).into_text_style(&area);
                area.draw_text(panel["title"].as_str().unwrap(), &style, (8, 4)).unwrap();
            }
            "stat" => draw_stat(panel, &area, &answers(panel)),
            _ => draw_graph(panel, &area, &answers(panel)),
        }
    }
    root.present().unwrap();
}

/// The frame and the title of a panel; answers the unit.
fn frame<'a>(panel: &'a Value, area: &Area<'_>) -> &'a str {
    let (width, height) = area.dim_in_pixel();
    let corner = (width.cast_signed() - 1, height.cast_signed() - 1);
    area.draw(&Rectangle::new([(0, 0), corner], LINES)).unwrap();
    let style = ("sans-serif", 15, &INK).into_text_style(area);
    area.draw_text(panel["title"].as_str().unwrap(), &style, (10, 8)).unwrap();
    panel["fieldConfig"]["defaults"]["unit"].as_str().unwrap()
}

fn draw_stat(panel: &Value, area: &Area<'_>, series: &[Series]) {
    let unit = frame(panel, area);
    let by_name = panel["options"]["textMode"] == "name";
    let last = series.first().and_then(|it| it.points.iter().rfind(|point| !point.1.is_nan()));
    let text = match (by_name, series.first(), last) {
        (true, Some(series), _) => series.name.clone(),
        (_, _, Some((_, value))) => shown(*value, unit),
        _ => "no data".to_owned(),
    };
    let size = if text.len() > 12 { 18 } else { 34 };
    let style = ("sans-serif", size, &COLOURS[6]).into_text_style(area);
    area.draw_text(&text, &style, (10, 46)).unwrap();
}

/// Sums series upon each other, as their points lie; answers what lies below each.
fn stacked(series: &mut [Series]) -> Vec<Vec<(f64, f64)>> {
    let mut height: BTreeMap<u64, f64> = BTreeMap::new();
    let mut below = Vec::new();
    for one in series {
        let mut floor = Vec::new();
        for (time, value) in &mut one.points {
            let height = height.entry(time.to_bits()).or_default();
            floor.push((*time, *height));
            *height += if value.is_nan() { 0.0 } else { *value };
            *value = *height;
        }
        below.push(floor);
    }
    below
}

fn draw_graph(panel: &Value, area: &Area<'_>, series: &[Series]) {
    let unit = frame(panel, area);
    let mut series = series.to_vec();
    let is_stacked = panel["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "normal";
    // What an override takes out of the stack is drawn over it.
    let overrides = panel["fieldConfig"]["overrides"].as_array();
    let overlaid = |series: &Series| {
        let dashed = |it: &&Value| it["properties"].to_string().contains("custom.lineStyle");
        let mut dashed = overrides.into_iter().flatten().filter(dashed);
        dashed.any(|it| it["matcher"]["options"] == series.name)
    };
    series.sort_by_key(overlaid);
    let in_stack = series.iter().filter(|it| is_stacked && !overlaid(it)).count();
    let below = stacked(&mut series[..in_stack]);
    let points = || series.iter().flat_map(|it| &it.points).filter(|point| !point.1.is_nan());
    let (from, to) = points()
        .fold((f64::MAX, f64::MIN), |(least, most), (time, _)| (least.min(*time), most.max(*time)));
    let most = points().map(|point| point.1).fold(0.0, f64::max);
    let top = if most > 0.0 { most * 1.08 } else { 1.0 };
    if from >= to {
        return;
    }
    let legend_height = 26;
    let (_, height) = area.dim_in_pixel();
    let mut chart = ChartBuilder::on(area)
        .margin_top(30)
        .margin_right(12)
        .margin_bottom(legend_height)
        .y_label_area_size(70)
        .x_label_area_size(22)
        .build_cartesian_2d(0.0..to - from, 0.0..top)
        .unwrap();
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(LINES.mix(0.6))
        .light_line_style(TRANSPARENT)
        .axis_style(LINES)
        .label_style(("sans-serif", 12, &INK))
        .y_labels(5)
        .x_labels(6)
        .y_label_formatter(&|value| shown(*value, unit))
        .x_label_formatter(&|seconds| format!("{:.0} s", *seconds))
        .draw()
        .unwrap();
    for (index, one) in series.iter().enumerate() {
        let colour = colour_of(panel, &one.name, index);
        let line: Vec<_> = one.points.iter().filter(|point| !point.1.is_nan()).collect();
        let line: Vec<_> = line.into_iter().map(|(time, value)| (time - from, *value)).collect();
        if let Some(below) = below.get(index) {
            let back = below.iter().rev().map(|(time, floor)| (time - from, *floor));
            let outline: Vec<_> = line.iter().copied().chain(back).collect();
            chart.draw_series([Polygon::new(outline, colour.mix(0.35))]).unwrap();
        }
        chart.draw_series(LineSeries::new(line, colour.stroke_width(1))).unwrap();
    }
    let mut x = 12;
    for (index, one) in series.iter().enumerate().filter(|(_, it)| !it.name.is_empty()) {
        let y = height.cast_signed() - 18;
        let width = 7 * i32::try_from(one.name.chars().count()).unwrap() + 26;
        if x + width > area.dim_in_pixel().0.cast_signed() {
            break;
        }
        let colour = colour_of(panel, &one.name, index);
        area.draw(&Rectangle::new([(x, y), (x + 10, y + 10)], colour.filled())).unwrap();
        let style = ("sans-serif", 12, &INK).into_text_style(area);
        area.draw_text(&one.name, &style, (x + 14, y)).unwrap();
        x += width;
    }
}
