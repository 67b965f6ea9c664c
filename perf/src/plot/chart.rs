//! One chart: title, a legend with figures, the lines, the axes, and in small print what they must
//! be read with. Pure.

use super::scale::Axis;
#[cfg(test)]
use super::svg::Spot;
use super::svg::{Anchor, Canvas, Face, WIDTH, fit, width_of, wrap};

/// Everything that is drawn.
#[derive(Clone, Debug)]
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) subtitle: String,
    /// What the legend says of each series beside its name.
    pub(crate) columns: Vec<&'static str>,
    pub(crate) series: Vec<Series>,
    pub(crate) x_title: String,
    pub(crate) y_title: String,
    pub(crate) small_print: Vec<String>,
}

/// One line, in figures.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
    /// Points that stand out.
    pub(crate) dots: Vec<(f64, f64)>,
    /// One for each column of the legend.
    pub(crate) cells: Vec<String>,
}

/// The edge of the words, and of the plot.
const EDGE: f64 = 28.0;
const PLOT_LEFT: f64 = 92.0;
const PLOT_RIGHT: f64 = WIDTH - 36.0;
const PLOT_HEIGHT: f64 = 310.0;
const COLUMN_WIDTH: f64 = 84.0;
const ROW_HEIGHT: f64 = 21.0;
const SWATCH_WIDTH: f64 = 30.0;
const SMALL_LINE_HEIGHT: f64 = 15.0;

/// Where the lines of a chart go.
pub(crate) const X_SPAN: (f64, f64) = (PLOT_LEFT, PLOT_RIGHT);

impl Chart {
    /// The plot's top and bottom: the legend above has a row for each series.
    pub(crate) fn y_span(&self) -> (f64, f64) {
        let top = 130.0 + self.series.len() as f64 * ROW_HEIGHT;
        (top + PLOT_HEIGHT, top)
    }

    /// The picture.
    pub(crate) fn draw(&self, x: &Axis, y: &Axis) -> String {
        let (canvas, height) = self.paint(x, y);
        canvas.finish(height, &self.title)
    }

    /// Where its words stand.
    #[cfg(test)]
    pub(crate) fn spots(&self, x: &Axis, y: &Axis) -> (Vec<Spot>, f64) {
        let (canvas, height) = self.paint(x, y);
        (canvas.spots, height)
    }

    fn paint(&self, x: &Axis, y: &Axis) -> (Canvas, f64) {
        let mut canvas = Canvas::default();
        let width = WIDTH - 2.0 * EDGE;
        let title = fit(&self.title, Face::Title, width);
        canvas.text((EDGE, 40.0), Face::Title, Anchor::Start, &title);
        let subtitle = fit(&self.subtitle, Face::Text, width);
        canvas.text((EDGE, 62.0), Face::Text, Anchor::Start, &subtitle);
        self.paint_legend(&mut canvas);
        self.paint_axes(&mut canvas, x, y);
        for (style, series) in self.series.iter().enumerate() {
            let place = |&(figure_x, figure_y): &(f64, f64)| (x.place(figure_x), y.place(figure_y));
            let points: Vec<(f64, f64)> = series.points.iter().map(place).collect();
            canvas.line(&points, style);
            for dot in series.dots.iter().map(place) {
                canvas.dot(dot, style);
            }
        }
        let mut at = self.y_span().0 + 64.0;
        for line in &self.small_print {
            for line in wrap(line, Face::Small, width) {
                canvas.text((EDGE, at), Face::Small, Anchor::Start, &line);
                at += SMALL_LINE_HEIGHT;
            }
        }
        (canvas, at + 6.0)
    }

    fn paint_legend(&self, canvas: &mut Canvas) {
        let columns = self.columns.len();
        let right = |column: usize| PLOT_RIGHT - (columns - 1 - column) as f64 * COLUMN_WIDTH;
        for (column, head) in self.columns.iter().enumerate() {
            canvas.text((right(column), 88.0), Face::Label, Anchor::End, head);
        }
        let name_left = EDGE + SWATCH_WIDTH + 10.0;
        let name_width = PLOT_RIGHT - columns as f64 * COLUMN_WIDTH - name_left;
        for (style, series) in self.series.iter().enumerate() {
            let at = 88.0 + (style + 1) as f64 * ROW_HEIGHT;
            let middle = at - Face::Text.size() * 0.35;
            canvas.line(&[(EDGE, middle), (EDGE + SWATCH_WIDTH, middle)], style);
            let name = fit(&series.name, Face::Strong, name_width);
            canvas.text((name_left, at), Face::Strong, Anchor::Start, &name);
            for (column, cell) in series.cells.iter().enumerate() {
                canvas.text((right(column), at), Face::Text, Anchor::End, cell);
            }
        }
    }

    fn paint_axes(&self, canvas: &mut Canvas, x: &Axis, y: &Axis) {
        let (bottom, top) = self.y_span();
        canvas.text(
            (EDGE, top - 12.0),
            Face::Label,
            Anchor::Start,
            &self.y_title,
        );
        for (figure, label) in &y.ticks {
            let at = y.place(*figure);
            canvas.rule((PLOT_LEFT, at), (PLOT_RIGHT, at), "grid");
            canvas.text(
                (PLOT_LEFT - 10.0, at + 4.0),
                Face::Label,
                Anchor::End,
                label,
            );
        }
        let mut free_from = 0.0;
        for (figure, label) in &x.ticks {
            let at = x.place(*figure);
            canvas.rule((at, top), (at, bottom), "grid");
            // What has no room is read from its neighbours.
            let half = width_of(label, Face::Label) / 2.0;
            if at - half > free_from && at + half < WIDTH - 4.0 {
                canvas.text((at, bottom + 19.0), Face::Label, Anchor::Middle, label);
                free_from = at + half + 6.0;
            }
        }
        canvas.rule((PLOT_LEFT, bottom), (PLOT_RIGHT, bottom), "axis");
        canvas.rule((PLOT_LEFT, top), (PLOT_LEFT, bottom), "axis");
        let middle = f64::midpoint(PLOT_LEFT, PLOT_RIGHT);
        canvas.text(
            (middle, bottom + 40.0),
            Face::Label,
            Anchor::Middle,
            &self.x_title,
        );
    }
}

/// Pairs of words that cover each other, and words that leave the picture.
#[cfg(test)]
pub(crate) fn collisions(spots: &[Spot], height: f64) -> Vec<String> {
    let mut found = Vec::new();
    for (number, one) in spots.iter().enumerate() {
        if one.left < 0.0 || one.right > WIDTH || one.top < 0.0 || one.bottom > height {
            found.push(format!("{:?} leaves the picture", one.words));
        }
        for other in &spots[number + 1..] {
            let beside = one.right <= other.left || other.right <= one.left;
            let above = one.bottom <= other.top || other.bottom <= one.top;
            if !beside && !above {
                found.push(format!("{:?} covers {:?}", one.words, other.words));
            }
        }
    }
    found
}
