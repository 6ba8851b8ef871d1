//! Bars as SVG: a group for each test, a bar for each server, on a logarithmic scale because tests differ by a
//! thousand times.

use super::{Report, grouped, micros};
use crate::run::Figures;

const WIDTH: f64 = 960.0;
const LABELS_WIDTH: f64 = 330.0;
const BARS_WIDTH: f64 = 540.0;
const BAR_HEIGHT: f64 = 13.0;
const GROUP_GAP: f64 = 10.0;
const TOP: f64 = 62.0;
/// Far enough apart for eyes that confuse red and green.
const COLOURS: [&str; 6] = ["#9aa0a6", "#1f5aa6", "#d98a1f", "#7a4fa3", "#2f8f7f", "#b5475a"];

/// One figure of every test and server.
pub(super) fn draw(report: &Report, title: &str, figure: impl Fn(&Figures) -> f64) -> String {
    let value = |row: usize, column: usize| {
        report.rows[row]
            .median(column)
            .map(|figures| figure(&figures))
            .filter(|value| value.is_finite() && *value > 0.0)
    };
    let columns = report.columns.len();
    let all: Vec<f64> =
        (0..report.rows.len()).flat_map(|row| (0..columns).filter_map(move |c| value(row, c))).collect();
    let scale = Scale::over(&all);
    let group_height = columns as f64 * BAR_HEIGHT + GROUP_GAP;
    let height = TOP + report.rows.len() as f64 * group_height + GROUP_GAP;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"12\" y=\"22\" font-size=\"15\">{}</text>\n",
        escape(title)
    );
    for (index, column) in report.columns.iter().enumerate() {
        let x = 12.0 + index as f64 * 170.0;
        svg += &format!("<rect x=\"{x}\" y=\"34\" width=\"11\" height=\"11\" fill=\"{}\"/>", colour(index));
        svg += &format!("<text x=\"{}\" y=\"44\">{}</text>\n", x + 16.0, escape(&column.title));
    }
    for (index, row) in report.rows.iter().enumerate() {
        let top = TOP + index as f64 * group_height;
        let middle = top + columns as f64 * BAR_HEIGHT / 2.0 + 4.0;
        let label_end = LABELS_WIDTH - 8.0;
        svg += &format!("<text x=\"{label_end}\" y=\"{middle}\" text-anchor=\"end\">{}</text>\n", escape(&row.label()));
        for column in 0..columns {
            let Some(value) = value(index, column) else { continue };
            svg += &bar(top + column as f64 * BAR_HEIGHT, scale.width(value), colour(column), value);
        }
    }
    svg + "</svg>\n"
}

fn bar(y: f64, width: f64, colour: &str, value: f64) -> String {
    let text = if value < 100.0 { micros(value) } else { grouped(value) };
    let (height, text_x, text_y) = (BAR_HEIGHT - 1.0, LABELS_WIDTH + width + 4.0, y + BAR_HEIGHT - 3.0);
    format!(
        "<rect x=\"{LABELS_WIDTH}\" y=\"{y}\" width=\"{width:.1}\" height=\"{height}\" fill=\"{colour}\"/>\
         <text x=\"{text_x:.1}\" y=\"{text_y}\" font-size=\"10\">{text}</text>\n"
    )
}

fn colour(index: usize) -> &'static str {
    COLOURS[index % COLOURS.len()]
}

/// From half the least value to the greatest, in powers.
struct Scale {
    least: f64,
    span: f64,
}

impl Scale {
    fn over(values: &[f64]) -> Self {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min) / 2.0;
        let most = values.iter().copied().fold(0.0, f64::max);
        Self { least, span: (most / least).ln().max(0.1) }
    }

    fn width(&self, value: f64) -> f64 {
        ((value / self.least).ln() / self.span * BARS_WIDTH).max(1.0)
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_fills_the_chart_and_none_is_invisible() {
        let scale = Scale::over(&[0.5, 10.0, 1000.0]);
        assert!((scale.width(1000.0) - BARS_WIDTH).abs() < 0.01);
        assert!(scale.width(0.5) > 1.0);
    }
}
