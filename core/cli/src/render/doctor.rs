//! What was checked.

use crate::output::{BAD, BOLD, DIM, GOOD, WARN, paint};
use osier_core::control::types::{Diagnostics, Verdict};

pub(crate) fn diagnostics(d: &Diagnostics) -> String {
    let width = d.checks.iter().map(|c| c.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for check in &d.checks {
        let (style, word) = match check.verdict {
            Verdict::Ok => (GOOD, "ok     "),
            Verdict::Warning => (WARN, "warning"),
            Verdict::Error => (BAD, "error  "),
        };
        text += &format!(
            "{} {} {}\n",
            paint(style, word),
            paint(BOLD, format!("{:<width$}", check.name)),
            check.seen
        );
        if let Some(fix) = &check.fix {
            text += &format!(
                "{:indent$} {} {fix}\n",
                "",
                paint(DIM, "fix:"),
                indent = 8 + width
            );
        }
    }
    let count = |verdict| d.checks.iter().filter(|c| c.verdict == verdict).count();
    text + &match (count(Verdict::Error), count(Verdict::Warning)) {
        (0, 0) => paint(GOOD, "all is well") + "\n",
        (errors, warnings) => format!("{errors} errors, {warnings} warnings\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_show_what_to_do() {
        let diagnostics_of = |value| serde_json::from_value::<Diagnostics>(value).expect("diagnostics");
        let ill = diagnostics_of(serde_json::json!({"checks": [
            {"name": "service", "verdict": "ok", "seen": "osier 0.1.0", "fix": null},
            {"name": "udp", "verdict": "error", "seen": "nobody answers", "fix": "let UDP out"},
            {"name": "registry", "verdict": "warning", "seen": "it does not answer", "fix": "wait"},
        ]}));
        insta::assert_snapshot!(anstream::adapter::strip_str(&diagnostics(&ill)).to_string());
        let well = diagnostics_of(serde_json::json!({"checks": []}));
        assert!(diagnostics(&well).contains("all is well"));
    }
}
