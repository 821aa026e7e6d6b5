//! Line charts as SVG.
//!
//! Owns the look of a chart, and nothing of what it shows.

use plotters::coord::Shift;
use plotters::prelude::*;

const SIZE: (u32, u32) = (760, 420);
const INK: RGBColor = RGBColor(36, 41, 46);
/// Told apart also by those who see few colours, and on paper.
const COLOURS: [RGBColor; 5] = [
    RGBColor(31, 96, 196),
    RGBColor(214, 94, 0),
    RGBColor(0, 136, 106),
    RGBColor(150, 60, 150),
    RGBColor(120, 120, 120),
];
const FONT: &str = "sans-serif";

/// A curve.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    /// From left to right.
    pub(crate) points: Vec<(f64, f64)>,
}

/// Curves over a logarithmic axis; the other begins at zero.
#[derive(Clone, Debug)]
pub(crate) struct LineChart {
    pub(crate) title: String,
    pub(crate) x: String,
    pub(crate) y: String,
    pub(crate) series: Vec<Series>,
}

pub(super) type DrawError = DrawingAreaErrorKind<std::io::Error>;
pub(super) type DrawResult = Result<(), DrawError>;

impl LineChart {
    /// The picture.
    pub(crate) fn svg(&self) -> String {
        let mut text = String::new();
        {
            let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
            self.draw(&root).expect("BUG: a picture in memory can be drawn");
        }
        text
    }

    fn draw(&self, root: &DrawingArea<SVGBackend<'_>, Shift>) -> DrawResult {
        root.fill(&WHITE)?;
        let points = || self.series.iter().flat_map(|it| &it.points);
        let least = points().map(|it| it.0).fold(f64::INFINITY, f64::min);
        let most = points().map(|it| it.0).fold(0.0, f64::max);
        let highest = points().map(|it| it.1).fold(0.0, f64::max);
        if highest <= 0.0 {
            let text = (FONT, 16, &INK).into_text_style(root);
            root.draw_text(&format!("{}: not measured", self.title), &text, (24, 24))?;
            return root.present();
        }
        // Above the curves, where their names stand.
        let room = 1.1 + 0.1 * self.series.len() as f64;
        // A single point needs some ground as well.
        let powers = (-6..12).map(|power| 10_f64.powi(power));
        let labels = powers.filter(|power| (least..=most).contains(power)).count().max(2);
        let x = (least / 1.3)..(most * 1.3);
        let mut chart = ChartBuilder::on(root)
            .caption(&self.title, (FONT, 18, &INK))
            .margin(14)
            .x_label_area_size(44)
            .y_label_area_size(72)
            .build_cartesian_2d(x.log_scale(), 0.0..highest * room)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(RGBColor(225, 228, 232))
            .axis_style(INK)
            .label_style((FONT, 13, &INK))
            .axis_desc_style((FONT, 14, &INK))
            // One for each power of ten; more would stand on top of each other.
            .x_labels(labels)
            .x_desc(&self.x)
            .y_desc(&self.y)
            .x_label_formatter(&|x| grouped(*x))
            .y_label_formatter(&|y| grouped(*y))
            .draw()?;
        for (series, colour) in self.series.iter().zip(COLOURS.iter().cycle()) {
            let colour = *colour;
            let dots = series.points.iter().map(|at| Circle::new(*at, 4, colour.filled()));
            chart.draw_series(dots)?;
            chart
                .draw_series(LineSeries::new(series.points.clone(), colour.stroke_width(2)))?
                .label(&series.name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3))
                });
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.85))
            .label_font((FONT, 13, &INK))
            .draw()?;
        root.present()
    }
}

/// A number with its thousands apart, and with as many digits as tell something.
fn grouped(number: f64) -> String {
    if number.abs() < 10.0 && number.fract() != 0.0 {
        return format!("{number:.1}");
    }
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_as_they_are_read() {
        let told = [0.0, 0.25, 7.5, 80.0, 1000.0, 1_234_567.0].map(grouped);
        assert_eq!(told, ["0", "0.2", "7.5", "80", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_chart_names_its_curves_and_one_of_nothing_says_so() {
        let series = Series { name: "cost".into(), points: vec![(100.0, 5.0), (1000.0, 7.0)] };
        let mut chart = LineChart {
            title: "Costs".into(),
            x: "accounts".into(),
            y: "ns".into(),
            series: vec![series],
        };
        let svg = chart.svg();
        for word in ["<svg", "Costs", "accounts", "cost", "1,000"] {
            assert!(svg.contains(word), "{word} is missing");
        }
        chart.series[0].points.clear();
        assert!(chart.svg().contains("not measured"));
    }
}
