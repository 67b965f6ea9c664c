//! Where the checks read: the texts of /proc and /sys.

use crate::io::blocking;

/// Texts and names by path. The machine's own, or a table of them in tests.
pub(super) trait System {
    /// A file's text without the white space around it; `None` if it cannot be read.
    fn text(&self, path: &str) -> Option<String>;

    /// What lies in a directory, sorted.
    fn names(&self, dir: &str) -> Vec<String>;

    /// A file that holds one number.
    fn number(&self, path: &str) -> Option<u64> {
        self.text(path)?.parse().ok()
    }
}

/// This machine.
pub(super) struct Machine;

impl System for Machine {
    fn text(&self, path: &str) -> Option<String> {
        let bytes = blocking::read_file(path).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_string())
    }

    fn names(&self, dir: &str) -> Vec<String> {
        blocking::names_in(dir)
    }
}

/// Numbers of the kernel's lists: `0-3,8` is 0, 1, 2, 3 and 8. What is no number is left out.
pub(super) fn listed(text: &str) -> Vec<usize> {
    let part = |part: &str| {
        let (first, last) = part.trim().split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().ok()?;
        let last: usize = last.trim().parse().ok()?;
        // More processors than any kernel counts would be a text that is no such list.
        (last < 65_536).then_some(first..=last)
    };
    text.split(',').filter_map(part).flatten().collect()
}

/// The choice in brackets of a text such as `always [madvise] never`, or the whole of it.
pub(super) fn chosen(text: &str) -> &str {
    let inner = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'));
    inner.map_or(text, |(inner, _)| inner)
}

/// A machine that says what a test says.
#[cfg(test)]
pub(super) struct Told(pub(super) &'static [(&'static str, &'static str)]);

#[cfg(test)]
impl System for Told {
    fn text(&self, path: &str) -> Option<String> {
        let found = self.0.iter().find(|(told, _)| *told == path)?;
        Some(found.1.to_string())
    }

    fn names(&self, dir: &str) -> Vec<String> {
        let below = |(path, _): &(&str, &str)| {
            let rest = path.strip_prefix(dir)?.strip_prefix('/')?;
            Some(rest.split('/').next().unwrap_or(rest).to_string())
        };
        let mut names: Vec<String> = self.0.iter().filter_map(below).collect();
        names.sort();
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lists_are_read() {
        let check = |text: &str, expected: &[usize]| assert_eq!(listed(text), expected, "{text}");
        check("0-3,8", &[0, 1, 2, 3, 8]);
        check("5", &[5]);
        check("", &[]);
        check("(null)", &[]);
        check("0-99999999999", &[]);
        assert_eq!(chosen("always [madvise] never"), "madvise");
        assert_eq!(chosen("none"), "none");
    }
}
