//! SVG, as much of it as charts need: lines and words with classes, whose colours one style sheet
//! gives for light and for dark surroundings. Pure.

use std::fmt::Write as _;

/// Width of every picture.
pub(crate) const WIDTH: f64 = 960.0;
/// Lines that are told apart by colour and dash.
pub(crate) const STYLES_COUNT: usize = 6;

/// Colours and dashes of a line, for light and dark surroundings: told apart by people who do not
/// see all colours, too.
const STYLES: [(&str, &str, &str); STYLES_COUNT] = [
    ("#0b62c4", "#58a6ff", "none"),
    ("#c2410c", "#ff9e64", "9 4"),
    ("#0f7b54", "#56d4a0", "3 3"),
    ("#8a3ffc", "#c4a3ff", "12 3 3 3"),
    ("#a8730a", "#e3b341", "6 2 2 2"),
    ("#6b7280", "#9aa4b2", "1 3"),
];

/// Where words stand relative to their point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// How words look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Face {
    Title,
    /// What a row or a picture is about.
    Text,
    Strong,
    /// Axes, heads of columns.
    Label,
    Small,
}

impl Face {
    fn class(self) -> &'static str {
        match self {
            Face::Title => "title",
            Face::Text => "text",
            Face::Strong => "strong",
            Face::Label => "label",
            Face::Small => "small",
        }
    }

    pub(crate) fn size(self) -> f64 {
        match self {
            Face::Title => 20.0,
            Face::Text | Face::Strong => 13.0,
            Face::Label => 12.0,
            Face::Small => 10.5,
        }
    }
}

/// A rectangle that words take, for whoever wants to know whether some of them collide.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spot {
    pub(crate) words: String,
    pub(crate) left: f64,
    pub(crate) right: f64,
    pub(crate) top: f64,
    pub(crate) bottom: f64,
}

/// A picture that is growing.
#[derive(Debug, Default)]
pub(crate) struct Canvas {
    body: String,
    pub(crate) spots: Vec<Spot>,
}

impl Canvas {
    pub(crate) fn text(&mut self, at: (f64, f64), face: Face, anchor: Anchor, words: &str) {
        let width = width_of(words, face);
        let left = match anchor {
            Anchor::Start => at.0,
            Anchor::Middle => at.0 - width / 2.0,
            Anchor::End => at.0 - width,
        };
        self.spots.push(Spot {
            words: words.to_owned(),
            left,
            right: left + width,
            top: at.1 - face.size() * 0.8,
            bottom: at.1 + face.size() * 0.2,
        });
        let name = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        self.push(format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" class=\"{}\" text-anchor=\"{name}\">{}</text>",
            at.0,
            at.1,
            face.class(),
            escape(words)
        ));
    }

    /// A line of a grid or of an axis.
    pub(crate) fn rule(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        self.push(format_args!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" class=\"{class}\"/>",
            from.0, from.1, to.0, to.1
        ));
    }

    /// A series' line.
    pub(crate) fn line(&mut self, points: &[(f64, f64)], style: usize) {
        let mut path = String::new();
        for (number, (x, y)) in points.iter().enumerate() {
            let command = if number == 0 { 'M' } else { 'L' };
            write!(path, "{command}{x:.1} {y:.1}").expect("a string grows");
        }
        let style = style % STYLES_COUNT;
        self.push(format_args!("<path d=\"{path}\" class=\"line s{style}\"/>"));
    }

    /// A point of a series that stands out.
    pub(crate) fn dot(&mut self, at: (f64, f64), style: usize) {
        let style = style % STYLES_COUNT;
        self.push(format_args!(
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3.5\" class=\"dot d{style}\"/>",
            at.0, at.1
        ));
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.body, "{element}").expect("a string grows");
    }

    /// The picture; its title is what a screen reader says.
    pub(crate) fn finish(self, height: f64, title: &str) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" \
             width=\"{WIDTH}\" height=\"{height:.0}\" role=\"img\" font-family=\"system-ui, \
             -apple-system, 'Segoe UI', 'DejaVu Sans', Roboto, Helvetica, Arial, sans-serif\">\n\
             <title>{}</title>\n<style>\n{}</style>\n\
             <rect x=\"0.5\" y=\"0.5\" width=\"{:.0}\" height=\"{:.0}\" rx=\"8\" class=\"card\"/>\n\
             {}</svg>\n",
            escape(title),
            style_sheet(),
            WIDTH - 1.0,
            height - 1.0,
            self.body
        )
    }
}

/// The card brings its own background, so that the picture can be read wherever it is put.
fn style_sheet() -> String {
    let mut sheet = String::from(
        ".card{fill:#ffffff;stroke:#d0d7de}\n\
         .title,.strong{fill:#1f2328;font-weight:600}\n.text{fill:#1f2328}\n\
         .label,.small{fill:#59636e}\n\
         .grid{stroke:#e4e8ec;stroke-width:1}\n.axis{stroke:#8c959f;stroke-width:1}\n\
         .line{fill:none;stroke-width:2.4;stroke-linejoin:round;stroke-linecap:butt}\n\
         .dot{stroke:#ffffff;stroke-width:1.2}\n",
    );
    for face in [
        Face::Title,
        Face::Text,
        Face::Strong,
        Face::Label,
        Face::Small,
    ] {
        let (class, size) = (face.class(), face.size());
        writeln!(sheet, ".{class}{{font-size:{size}px}}").expect("a string grows");
    }
    for (number, (light, _, dash)) in STYLES.iter().enumerate() {
        let line = format!(".s{number}{{stroke:{light};stroke-dasharray:{dash}}}");
        writeln!(sheet, "{line}\n.d{number}{{fill:{light}}}").expect("a string grows");
    }
    sheet.push_str(
        "@media (prefers-color-scheme: dark){\n\
         .card{fill:#0d1117;stroke:#30363d}\n.title,.strong,.text{fill:#e6edf3}\n\
         .label,.small{fill:#9198a1}\n.grid{stroke:#21262d}\n.axis{stroke:#6e7681}\n\
         .dot{stroke:#0d1117}\n",
    );
    for (number, (_, dark, _)) in STYLES.iter().enumerate() {
        let line = format!(".s{number}{{stroke:{dark}}}\n.d{number}{{fill:{dark}}}");
        writeln!(sheet, "{line}").expect("a string grows");
    }
    sheet.push_str("}\n");
    sheet
}

/// How wide words are, roughly and rather too wide: nobody knows the reader's font.
pub(crate) fn width_of(words: &str, face: Face) -> f64 {
    let per_letter = match face {
        Face::Title | Face::Strong => 0.61,
        Face::Text | Face::Label | Face::Small => 0.56,
    };
    words.chars().count() as f64 * face.size() * per_letter
}

/// Words that fit, the end of what does not fit cut off.
pub(crate) fn fit(words: &str, face: Face, width: f64) -> String {
    if width_of(words, face) <= width {
        return words.to_owned();
    }
    let letters = width / width_of("x", face);
    let kept: String = words.chars().take((letters as usize).max(2) - 1).collect();
    format!("{}…", kept.trim_end())
}

/// Words broken into lines that fit.
pub(crate) fn wrap(words: &str, face: Face, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width_of(&format!("{line} {word}"), face) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

fn escape(words: &str) -> String {
    let mut escaped = String::with_capacity(words.len());
    for letter in words.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML has no other control characters.
            letter if letter.is_control() => escaped.push(' '),
            letter => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stay_words() {
        let mut canvas = Canvas::default();
        canvas.text((1.0, 2.0), Face::Text, Anchor::End, "a<b & \"c\"\u{7}");
        let picture = canvas.finish(100.0, "t<");
        assert!(picture.contains("a&lt;b &amp; &quot;c&quot; </text>"));
        assert!(picture.contains("<title>t&lt;</title>"));
    }

    #[test]
    fn words_are_cut_and_broken_where_they_must_be() {
        assert_eq!(fit("short", Face::Text, 100.0), "short");
        assert_eq!(fit("abcdefghij", Face::Text, 40.0), "abcd…");
        assert_eq!(wrap("aa bb cc", Face::Text, 40.0), ["aa bb", "cc"]);
        assert_eq!(wrap("aaaaaaaaaa b", Face::Text, 40.0), ["aaaaaaaaaa", "b"]);
        assert!(wrap("", Face::Text, 40.0).is_empty());
    }
}
