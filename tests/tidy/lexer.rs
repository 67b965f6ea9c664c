//! Rust source as tokens: just enough to tell code from comments, strings and tests.

use std::collections::BTreeSet;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Ident,
    Punct,
    /// Numbers, strings and characters; the text is kept.
    Literal,
    Lifetime,
}

/// One token of code. Comments are not tokens.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) text: String,
    pub(crate) line: usize,
    /// Within the braces of an item under `#[cfg(test)]`.
    pub(crate) in_test: bool,
    /// Within the body of a function.
    pub(crate) in_body: bool,
    /// How many inline `mod name { }` surround the token.
    pub(crate) mod_depth: usize,
}

/// A comment with the line that it starts on; a block comment has one entry per line.
pub(crate) struct Comment {
    pub(crate) text: String,
    pub(crate) line: usize,
}

/// A file's tokens and comments.
pub(crate) struct Source {
    pub(crate) tokens: Vec<Token>,
    pub(crate) comments: Vec<Comment>,
    /// Names of `#[cfg(test)] mod name;`: their files are tests as a whole.
    pub(crate) test_files: BTreeSet<String>,
}

impl Source {
    pub(crate) fn read(text: &str) -> Source {
        let mut source = Source {
            tokens: Vec::new(),
            comments: Vec::new(),
            test_files: BTreeSet::new(),
        };
        Lexer {
            chars: text.chars().collect(),
            at: 0,
            line: 1,
        }
        .run(&mut source);
        mark_bodies(&mut source.tokens);
        mark_tests(&mut source);
        mark_mods(&mut source.tokens);
        source
    }

    /// Whether the tokens from `at` read as `pattern`.
    pub(crate) fn matches(&self, at: usize, pattern: &[&str]) -> bool {
        let window = self.tokens.get(at..at + pattern.len());
        window.is_some_and(|window| window.iter().zip(pattern).all(|(t, p)| t.text == *p))
    }
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
}

impl Lexer {
    fn run(mut self, out: &mut Source) {
        while let Some(c) = self.peek(0) {
            if c.is_whitespace() {
                self.bump();
            } else if c == '/' && self.peek(1) == Some('/') {
                let line = self.line;
                let text = self.take_while(|c| c != '\n');
                out.comments.push(Comment { text, line });
            } else if c == '/' && self.peek(1) == Some('*') {
                self.block_comment(&mut out.comments);
            } else if let Some((kind, text, line)) = self.token(c) {
                out.tokens.push(Token {
                    kind,
                    text,
                    line,
                    in_test: false,
                    in_body: false,
                    mod_depth: 0,
                });
            }
        }
    }

    fn token(&mut self, c: char) -> Option<(Kind, String, usize)> {
        let line = self.line;
        if c.is_alphabetic() || c == '_' {
            if let Some(text) = self.prefixed_string() {
                return Some((Kind::Literal, text, line));
            }
            let text = self.take_while(|c| c.is_alphanumeric() || c == '_');
            return Some((Kind::Ident, text, line));
        }
        if c.is_ascii_digit() {
            let text = self.take_while(|c| c.is_alphanumeric() || c == '_');
            return Some((Kind::Literal, text, line));
        }
        if c == '"' {
            return Some((Kind::Literal, self.string(), line));
        }
        if c == '\'' {
            let is_char = self.peek(1) == Some('\\') || self.peek(2) == Some('\'');
            if is_char {
                return Some((Kind::Literal, self.character(), line));
            }
            self.bump();
            let text = self.take_while(|c| c.is_alphanumeric() || c == '_');
            return Some((Kind::Lifetime, text, line));
        }
        self.bump();
        if c == ':' && self.peek(0) == Some(':') {
            self.bump();
            return Some((Kind::Punct, "::".to_string(), line));
        }
        Some((Kind::Punct, c.to_string(), line))
    }

    /// `r"..."`, `r#"..."#`, `b"..."`, `br"..."`, `c"..."`, `b'.'`; `None` for anything else.
    fn prefixed_string(&mut self) -> Option<String> {
        let mut ahead = 0;
        while ahead < 2 && matches!(self.peek(ahead), Some('r' | 'b' | 'c')) {
            ahead += 1;
        }
        let raw = (0..ahead).any(|i| self.peek(i) == Some('r'));
        let mut hashes = 0;
        while raw && self.peek(ahead + hashes) == Some('#') {
            hashes += 1;
        }
        match self.peek(ahead + hashes)? {
            '"' if ahead > 0 => {}
            '\'' if ahead == 1 && self.peek(0) == Some('b') => {
                self.bump();
                return Some(self.character());
            }
            _ => return None,
        }
        for _ in 0..ahead + hashes {
            self.bump();
        }
        if !raw {
            return Some(self.string());
        }
        self.bump();
        let mut text = String::new();
        while let Some(c) = self.bump() {
            if c == '"' && (0..hashes).all(|i| self.peek(i) == Some('#')) {
                for _ in 0..hashes {
                    self.bump();
                }
                break;
            }
            text.push(c);
        }
        Some(text)
    }

    fn string(&mut self) -> String {
        self.quoted('"')
    }

    fn character(&mut self) -> String {
        self.quoted('\'')
    }

    fn quoted(&mut self, end: char) -> String {
        self.bump();
        let mut text = String::new();
        while let Some(c) = self.bump() {
            if c == '\\' {
                text.push(c);
                text.extend(self.bump());
            } else if c == end {
                break;
            } else {
                text.push(c);
            }
        }
        text
    }

    fn block_comment(&mut self, out: &mut Vec<Comment>) {
        let mut depth = 0;
        let mut line = self.line;
        let mut text = String::new();
        while let Some(c) = self.bump() {
            if c == '/' && self.peek(0) == Some('*') {
                self.bump();
                depth += 1;
            } else if c == '*' && self.peek(0) == Some('/') {
                self.bump();
                depth -= 1;
                if depth == 0 {
                    break;
                }
            } else if c == '\n' {
                out.push(Comment {
                    text: std::mem::take(&mut text),
                    line,
                });
                line = self.line;
            } else {
                text.push(c);
            }
        }
        out.push(Comment { text, line });
    }

    fn peek(&self, ahead: usize) -> Option<char> {
        self.chars.get(self.at + ahead).copied()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> String {
        let mut text = String::new();
        while let Some(c) = self.peek(0).filter(|c| keep(*c)) {
            text.push(c);
            self.bump();
        }
        text
    }
}

/// The index after the group that opens at `open`.
pub(crate) fn group_end(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        if token.kind != Kind::Punct {
            continue;
        }
        match token.text.as_str() {
            "{" | "(" | "[" => depth += 1,
            "}" | ")" | "]" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return index + 1;
                }
            }
            _ => {}
        }
    }
    tokens.len()
}

/// Marks the items that stand under `#[cfg(test)]` or `#[cfg(all(test, ...))]`.
fn mark_tests(source: &mut Source) {
    let mut at = 0;
    while at < source.tokens.len() {
        let is_attribute = source.matches(at, &["#", "[", "cfg", "("]);
        let end = if is_attribute {
            group_end(&source.tokens, at + 1)
        } else {
            at + 1
        };
        let names = |word: &str| source.tokens[at..end].iter().any(|t| t.text == word);
        // Within a function's body the attribute changes the function; that is no test.
        if !is_attribute || source.tokens[at].in_body || !names("test") || names("not") {
            at += 1;
            continue;
        }
        let mut item = end;
        while source.matches(item, &["#", "["]) {
            item = group_end(&source.tokens, item + 1);
        }
        let stop = item_end(&source.tokens, item);
        if source.matches(stop - 1, &[";"]) && source.matches(item, &["mod"]) {
            source
                .test_files
                .insert(source.tokens[item + 1].text.clone());
        }
        for token in &mut source.tokens[at..stop] {
            token.in_test = true;
        }
        at = stop;
    }
}

/// The index after the item that starts at `start`: its `;` or its braces.
fn item_end(tokens: &[Token], start: usize) -> usize {
    let mut at = start;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            ";" if tokens[at].kind == Kind::Punct => return at + 1,
            "{" if tokens[at].kind == Kind::Punct => return group_end(tokens, at),
            "(" | "[" if tokens[at].kind == Kind::Punct => at = group_end(tokens, at),
            _ => at += 1,
        }
    }
    tokens.len()
}

fn mark_bodies(tokens: &mut [Token]) {
    for at in 0..tokens.len() {
        let named = tokens.get(at + 1).is_some_and(|t| t.kind == Kind::Ident);
        if tokens[at].kind == Kind::Ident && tokens[at].text == "fn" && named {
            let end = item_end(tokens, at);
            let Some(open) = (at..end).find(|i| tokens[*i].text == "{") else {
                continue;
            };
            for token in &mut tokens[open..end] {
                token.in_body = true;
            }
        }
    }
}

fn mark_mods(tokens: &mut [Token]) {
    for at in 0..tokens.len().saturating_sub(2) {
        if tokens[at].text == "mod" && tokens[at + 2].text == "{" {
            let end = group_end(tokens, at + 2);
            for token in &mut tokens[at + 2..end] {
                token.mod_depth += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let source = Source::read(text);
        source.tokens.into_iter().map(|token| token.text).collect()
    }

    #[test]
    fn comments_and_strings_are_not_code() {
        let text = "a /* b /* c */ d */ e // f\n\"g\\\" h\" r#\"i \" j\"# 'k' '\\'' l";
        assert_eq!(
            words(text),
            ["a", "e", "g\\\" h", "i \" j", "k", "\\'", "l"]
        );
        let source = Source::read(text);
        assert_eq!(source.tokens.last().map(|t| t.line), Some(2));
        assert_eq!(source.comments.len(), 2);
    }

    #[test]
    fn lifetimes_and_byte_strings_are_told_from_characters() {
        assert_eq!(
            words("&'a str b'x' b\"y\" '_"),
            ["&", "a", "str", "x", "y", "_"]
        );
    }

    #[test]
    fn test_items_are_marked_to_their_end() {
        let text = "fn a() { x }\n#[cfg(test)]\nmod tests { fn b() { y } }\nfn c() { z }\n\
                    #[cfg(all(test, feature = \"sim\"))] mod crash;\n#[cfg(not(test))] fn d() {}";
        let source = Source::read(text);
        let in_test = |word: &str| {
            let found = source.tokens.iter().find(|t| t.text == word);
            found.map(|token| (token.in_test, token.in_body))
        };
        assert_eq!(in_test("x"), Some((false, true)));
        assert_eq!(in_test("y"), Some((true, true)));
        assert_eq!(in_test("z"), Some((false, true)));
        assert_eq!(in_test("d"), Some((false, false)));
        assert!(source.test_files.contains("crash"));
    }

    #[test]
    fn inline_modules_are_counted() {
        let source = Source::read("mod a { mod b { x } y } z");
        let depth = |word: &str| {
            let found = source.tokens.iter().find(|t| t.text == word);
            found.map(|token| token.mod_depth)
        };
        assert_eq!(
            (depth("x"), depth("y"), depth("z")),
            (Some(2), Some(1), Some(0))
        );
    }
}
