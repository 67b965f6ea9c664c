//! Java's `.properties` text, as `java.util.Properties.load` reads it.
//!
//! Natural lines end at `\n`, `\r` or `\r\n`; a line whose first visible character is `#` or `!`
//! is a comment; an odd number of backslashes at a line's end continues it on the next one, whose
//! leading blanks are dropped. A key ends at the first unescaped `=`, `:` or blank; blanks around
//! the separator are dropped. `\t \n \r \f \uXXXX` are characters, any other escaped character is
//! itself. A key that comes twice has its last value.

use std::fmt;

/// One entry, with the line where it starts, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Property {
    /// The line where it starts, from 1.
    pub line: usize,
    /// The key, unescaped.
    pub key: String,
    /// The value, unescaped.
    pub value: String,
}

/// A `\u` escape that is not four hexadecimal digits, or half of a surrogate pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BadEscape {
    /// The line where the entry starts, from 1.
    pub line: usize,
}

impl fmt::Display for BadEscape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}: \\u must be followed by four hexadecimal digits",
            self.line
        )
    }
}

/// Reads all entries, in order, repeated keys included.
pub(super) fn parse(text: &str) -> Result<Vec<Property>, BadEscape> {
    let mut properties = Vec::new();
    let mut lines = natural_lines(text).enumerate();
    while let Some((index, first)) = lines.next() {
        let first = first.trim_start_matches(BLANKS);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = String::from(first);
        while continues(&logical) {
            logical.pop();
            // A continuation at the end of the text continues with nothing.
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(next.trim_start_matches(BLANKS));
        }
        let line = index + 1;
        let (key, value) = split(&logical);
        let unescaped = |text| unescape(text).ok_or(BadEscape { line });
        properties.push(Property {
            line,
            key: unescaped(key)?,
            value: unescaped(value)?,
        });
    }
    Ok(properties)
}

/// Space, tab and form feed: the blanks of the format.
const BLANKS: [char; 3] = [' ', '\t', '\u{c}'];

/// The text's lines without their ends, whichever of the three ends they have.
fn natural_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(['\n', '\r'])
        .scan(false, |after_return, piece| {
            // The `\n` of a `\r\n` arrives alone and belongs to the line before it.
            let joined = *after_return && piece == "\n";
            *after_return = piece.ends_with('\r');
            Some((!joined).then(|| piece.trim_end_matches(['\n', '\r'])))
        })
        .flatten()
}

/// Whether an odd number of backslashes ends the line.
fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

/// The still escaped key and value of a logical line.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    let end = line.find(|c: char| {
        let ends = !escaped && (c == '=' || c == ':' || BLANKS.contains(&c));
        escaped = c == '\\' && !escaped;
        ends
    });
    let Some(end) = end else { return (line, "") };
    let rest = line[end..].trim_start_matches(BLANKS);
    let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (&line[..end], value.trim_start_matches(BLANKS))
}

/// Resolves the escapes; `None` for a bad `\u`.
fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => plain.push(unicode(&mut chars)?),
            Some(other) => plain.push(other),
            None => {}
        }
    }
    Some(plain)
}

/// The character of a `\u` escape; two of them where the first is half of a surrogate pair.
fn unicode(chars: &mut std::str::Chars<'_>) -> Option<char> {
    let first = four_digits(chars)?;
    if !(0xd800..0xe000).contains(&first) {
        return char::from_u32(first);
    }
    let rest = chars.as_str().strip_prefix("\\u")?;
    *chars = rest.chars();
    let second = four_digits(chars)?;
    char::decode_utf16([first as u16, second as u16])
        .next()?
        .ok()
}

fn four_digits(chars: &mut std::str::Chars<'_>) -> Option<u32> {
    (0..4).try_fold(0, |value, _| Some(value * 16 + chars.next()?.to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &[(usize, &str, &str)]) {
        let found = parse(text).expect("no bad escape");
        let found: Vec<_> = found
            .iter()
            .map(|p| (p.line, p.key.as_str(), p.value.as_str()))
            .collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn texts_read_as_java_reads_them() {
        check("", &[]);
        check(
            "a=1\nb:2\rc 3\r\nd",
            &[(1, "a", "1"), (2, "b", "2"), (3, "c", "3"), (4, "d", "")],
        );
        check("  a \t=\t 1  \n", &[(1, "a", "1  ")]);
        check("# a=1\n  ! b=2\n\n c=#3", &[(4, "c", "#3")]);
        check(
            "a=b\\\n   c\\\r\n\td\ne=1",
            &[(1, "a", "bcd"), (4, "e", "1")],
        );
        check("a=b\\\\\nc=1", &[(1, "a", "b\\"), (2, "c", "1")]);
        check("a=b\\", &[(1, "a", "b")]);
        check("a\\ b\\=c\\:d = e", &[(1, "a b=c:d", "e")]);
        check("a = = b", &[(1, "a", "= b")]);
        check("a=\\t\\n\\r\\f\\q\\\\", &[(1, "a", "\t\n\r\u{c}q\\")]);
        check("a=\\u00e4\\uD83D\\uDE00", &[(1, "a", "ä😀")]);
        check("=x", &[(1, "", "x")]);
        check("a=1\na=2", &[(1, "a", "1"), (2, "a", "2")]);
        check("a=1\\\n# not a comment", &[(1, "a", "1# not a comment")]);
        check("a=1\r\r\nb=2", &[(1, "a", "1"), (3, "b", "2")]);
    }

    #[test]
    fn a_bad_escape_names_its_line() {
        for text in [
            "x=1\ny=\\u12",
            "x=1\ny=\\ud83d",
            "x=1\ny=\\ud83d\\u0041",
            "x=1\n\\uzzzz=1",
        ] {
            assert_eq!(parse(text), Err(BadEscape { line: 2 }), "{text:?}");
        }
    }

    /// Writes an entry so that every special character is escaped.
    fn escape(text: &str) -> String {
        let mut escaped = String::new();
        for c in text.chars() {
            match c {
                '\n' => escaped.push_str("\\n"),
                '\r' => escaped.push_str("\\r"),
                '\t' => escaped.push_str("\\t"),
                '\u{c}' => escaped.push_str("\\f"),
                ' ' | '=' | ':' | '#' | '!' | '\\' => escaped.extend(['\\', c]),
                other => escaped.push(other),
            }
        }
        escaped
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            entries in prop::collection::vec(("\\PC{1,12}|[ =:#!\\\\\t\n\r]{1,6}", any::<String>()), 0..8),
            separator in "[ \t]{0,2}[=: ][ \t]{0,2}",
            end in prop::sample::select(vec!["\n", "\r", "\r\n", "\n\n#x\n"]),
        ) {
            let text: String = entries
                .iter()
                .map(|(key, value)| format!("{}{separator}{}{end}", escape(key), escape(value)))
                .collect();
            let found = parse(&text).expect("no bad escape");
            let found: Vec<_> = found.into_iter().map(|p| (p.key, p.value)).collect();
            prop_assert_eq!(found, entries);
        }

        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = parse(&text);
        }
    }
}
