//! The patterns of topic names that Kafka's tools take, as far as people use them: names, commas
//! or `|` between several, `.` for any character, and `*`, `+`, `?` after a character.

/// A pattern that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    alternatives: Vec<Vec<Item>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Item {
    /// `None` is any character.
    char: Option<char>,
    least: usize,
    is_bounded: bool,
}

impl Pattern {
    /// Reads a pattern; the error names the character that is not served.
    pub(super) fn parse(text: &str) -> Result<Pattern, char> {
        let alternatives = text.split(['|', ',']).map(|one| items(one.trim()));
        Ok(Pattern {
            alternatives: alternatives.collect::<Result<_, _>>()?,
        })
    }

    /// Whether the whole name is meant.
    pub(super) fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        self.alternatives.iter().any(|items| fits(items, &name))
    }
}

fn items(text: &str) -> Result<Vec<Item>, char> {
    let mut items: Vec<Item> = Vec::new();
    for char in text.chars() {
        let before = items.last_mut();
        match (char, before) {
            ('*', Some(item)) => (item.least, item.is_bounded) = (0, false),
            ('+', Some(item)) => item.is_bounded = false,
            ('?', Some(item)) => item.least = 0,
            ('^' | '$' | '(' | ')' | '[' | ']' | '{' | '}' | '\\' | '*' | '+' | '?', _) => {
                return Err(char);
            }
            (char, _) => items.push(Item {
                char: (char != '.').then_some(char),
                least: 1,
                is_bounded: true,
            }),
        }
    }
    Ok(items)
}

/// Which positions of the name can be reached, item by item: no pattern takes long.
fn fits(items: &[Item], name: &[char]) -> bool {
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for item in items {
        let same = |at: usize| item.char.is_none_or(|char| char == name[at]);
        let mut next = vec![false; name.len() + 1];
        let starts = reached
            .iter()
            .enumerate()
            .filter(|(_, is_reached)| **is_reached);
        for (start, _) in starts {
            let most = if item.is_bounded { 1 } else { name.len() };
            let mut at = start;
            next[at] |= item.least == 0;
            while at < name.len() && at - start < most && same(at) {
                at += 1;
                next[at] = true;
            }
        }
        reached = next;
    }
    reached[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_matched_as_a_whole() {
        let check = |pattern: &str, name: &str, expected: bool| {
            let pattern = Pattern::parse(pattern).expect("a pattern");
            assert_eq!(pattern.matches(name), expected, "{pattern:?} {name}");
        };
        check("orders", "orders", true);
        check("orders", "orders2", false);
        check("o.*", "orders", true);
        check(".*", "", true);
        check("o.+", "o", false);
        check("a,b|c", "c", true);
        check("a.b", "axb", true);
        check("ab?c", "ac", true);
        check("ab?c", "abbc", false);
        check("x*", "xxxx", true);
        assert_eq!(Pattern::parse("a(b)"), Err('('));
        assert_eq!(Pattern::parse("*"), Err('*'));
    }
}
