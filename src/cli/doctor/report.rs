//! All checks as a person or a script reads them.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::check::{Check, Verdict};

/// The checks, by area.
pub(super) struct Report {
    checks: Vec<Check>,
}

const VERDICTS: [Verdict; 4] = [Verdict::Ok, Verdict::Warn, Verdict::Fail, Verdict::Unknown];

impl Report {
    pub(super) fn new(mut checks: Vec<Check>) -> Report {
        // Stable: within an area the order is that of the checks.
        checks.sort_by_key(Check::area);
        Report { checks }
    }

    /// Whether the exit code says so: for a failure, and with `strict` for a warning too.
    pub(super) fn is_failed(&self, strict: bool) -> bool {
        let counts = |check: &Check| match check.verdict() {
            Verdict::Fail => true,
            Verdict::Warn => strict,
            Verdict::Ok | Verdict::Unknown => false,
        };
        self.checks.iter().any(counts)
    }

    fn count(&self, verdict: Verdict) -> usize {
        let same = |check: &&Check| check.verdict() == verdict;
        self.checks.iter().filter(same).count()
    }

    /// A line a check; below it why it matters and what helps, where it is not as it should be, or
    /// everywhere if `verbose`.
    pub(super) fn text(&self, verbose: bool, coloured: bool) -> String {
        let width = self.checks.iter().map(|check| check.name().len()).max();
        let width = width.unwrap_or(0);
        let mut text = String::new();
        let mut area = None;
        for check in &self.checks {
            if area.replace(check.area()) != Some(check.area()) {
                let _ = writeln!(text, "{}", check.area().name().to_uppercase());
            }
            let word = painted(check.verdict(), coloured);
            let _ = writeln!(text, "  {word}  {:width$}  {}", check.name(), check.seen());
            let is_bad = matches!(check.verdict(), Verdict::Warn | Verdict::Fail);
            if is_bad || verbose {
                let _ = writeln!(text, "        why: {}", check.why());
            }
            if let Some(remedy) = check.remedy() {
                let _ = writeln!(text, "        try: {remedy}");
            }
        }
        let counts = VERDICTS.map(|verdict| format!("{} {}", self.count(verdict), verdict.word()));
        let _ = writeln!(text, "{}", counts.join(", "));
        text
    }

    pub(super) fn to_json(&self) -> Value {
        let check = |check: &Check| {
            json!({
                "area": check.area().name(),
                "check": check.name(),
                "verdict": check.verdict().word(),
                "seen": check.seen(),
                "why": check.why(),
                "try": check.remedy(),
            })
        };
        json!({
            "ok": self.count(Verdict::Ok),
            "warn": self.count(Verdict::Warn),
            "fail": self.count(Verdict::Fail),
            "unknown": self.count(Verdict::Unknown),
            "checks": self.checks.iter().map(check).collect::<Vec<_>>(),
        })
    }
}

/// The word, four columns wide.
fn painted(verdict: Verdict, coloured: bool) -> String {
    let colour = match verdict {
        Verdict::Ok => 32,
        Verdict::Warn => 33,
        Verdict::Fail => 31,
        Verdict::Unknown => 2,
    };
    let word = format!("{:4}", verdict.word());
    match coloured {
        true => format!("\x1b[{colour}m{word}\x1b[0m"),
        false => word,
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::{Area, Question};
    use super::*;

    const CLOCK: Question = Question::new(Area::Cpu, "clock", "Time is read often.");
    const RING: Question = Question::new(Area::Kernel, "ring", "It waits there.");

    #[test]
    fn what_is_wrong_has_its_reason_and_its_remedy_below() {
        let report = Report::new(vec![
            CLOCK.warn("hpet", "another machine"),
            RING.ok("plain"),
            CLOCK.unknown("no sysfs"),
        ]);
        let expected = "\
KERNEL
  OK    ring   plain
CPU
  WARN  clock  hpet
        why: Time is read often.
        try: another machine
  n/a   clock  no sysfs
1 OK, 1 WARN, 0 FAIL, 1 n/a
";
        assert_eq!(report.text(false, false), expected);
        let verbose = report.text(true, true);
        assert!(verbose.contains("why: It waits there."), "{verbose}");
        assert!(verbose.contains("\x1b[33mWARN\x1b[0m"), "{verbose}");
        let json = report.to_json();
        assert_eq!(json["warn"], 1);
        assert_eq!(json["checks"][1]["try"], "another machine");
        assert_eq!(json["checks"][0]["try"], Value::Null);
    }

    #[test]
    fn warnings_fail_only_where_that_is_asked() {
        let check = |checks: Vec<Check>, expected: (bool, bool)| {
            let report = Report::new(checks);
            assert_eq!((report.is_failed(false), report.is_failed(true)), expected);
        };
        check(vec![RING.ok(""), CLOCK.unknown("")], (false, false));
        check(vec![RING.ok(""), CLOCK.warn("", "")], (false, true));
        check(vec![RING.fail("", ""), CLOCK.ok("")], (true, true));
    }
}
