//! The support bundle: one text with everything that helps somebody else to find out what is wrong, and no secrets.
//!
//! It is made of what the control API tells, which holds no keys. As settings and log lines are written by people and
//! other programs, whatever looks like an invite or a password in a URL is removed from the whole text all the same.

use crate::{clock, control::types::Diagnostics};
use serde::Serialize;

/// What stands for something secret.
const REMOVED: &str = "[removed]";
const INVITE: &str = "osier://join/";

/// A bundle that grows section by section.
#[derive(Debug)]
pub struct Bundle(String);

impl Bundle {
    /// Begins with what is known of the system.
    pub fn new() -> Self {
        let mut bundle = Self(
            "Osier support bundle\n\nIt holds no keys, invites or passwords, but the names and addresses of this \
             machine and of other members: look through it before you pass it on.\n"
                .into(),
        );
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        bundle.section(
            "system",
            &format!(
                "time: {}\nosier: {}\nsystem: {} {} {}",
                clock::unix_time(),
                env!("CARGO_PKG_VERSION"),
                std::env::consts::OS,
                std::env::consts::ARCH,
                kernel.trim()
            ),
        );
        bundle
    }

    pub fn section(&mut self, title: &str, text: &str) {
        self.0
            .push_str(&format!("\n== {title} ==\n{}\n", text.trim_end()));
    }

    /// A section of JSON.
    pub fn json(&mut self, title: &str, value: &impl Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.section(title, &text),
            Err(error) => self.section(title, &error.to_string()),
        }
    }

    /// A line for each check.
    pub fn diagnostics(&mut self, diagnostics: &Diagnostics) {
        let lines: String = diagnostics
            .checks
            .iter()
            .map(|c| {
                let fix = c
                    .fix
                    .as_ref()
                    .map(|fix| format!("; fix: {fix}"))
                    .unwrap_or_default();
                format!("{:?} {}: {}{fix}\n", c.verdict, c.name, c.seen)
            })
            .collect();
        self.section("diagnostics", &lines);
    }

    /// The whole text, without secrets.
    pub fn finish(self) -> String {
        redact(&self.0)
    }
}

impl Default for Bundle {
    fn default() -> Self {
        Self::new()
    }
}

/// Removes invites, and names and passwords in URLs.
fn redact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        out.push_str(before);
        let is_invite = before.ends_with("osier://") && after.starts_with("join/");
        let ends = |c: char| c.is_whitespace() || c.is_control() || "\"'`<>\\,;".contains(c);
        let end = after.find(ends).unwrap_or(after.len());
        let (url, tail) = after.split_at(end);
        if is_invite {
            out.push_str(&INVITE["osier://".len()..]);
            out.push_str(REMOVED);
        } else {
            let host_end = url.find(['/', '?', '#']).unwrap_or(url.len());
            match url[..host_end].rfind('@') {
                Some(at) => {
                    out.push_str(REMOVED);
                    out.push_str(&url[at..]);
                }
                None => out.push_str(url),
            }
        }
        rest = tail;
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invites_and_passwords_are_removed_wherever_they_stand() {
        for (text, expected) in [
            (
                "osier://join/abcDEF_- and more",
                "osier://join/[removed] and more",
            ),
            ("\"osier://join/abc\"", "\"osier://join/[removed]\""),
            (
                "join osier://join/a\nosier://join/b",
                "join osier://join/[removed]\nosier://join/[removed]",
            ),
            ("osier://join/", "osier://join/[removed]"),
            ("https://me:secret@host:1/path", "https://[removed]@host:1/path"),
            ("postgres://u:p@ss@host/db, x", "postgres://[removed]@host/db, x"),
            ("https://host/a@b", "https://host/a@b"),
            ("https://host", "https://host"),
            ("no secrets: a@b", "no secrets: a@b"),
        ] {
            assert_eq!(redact(text), expected);
        }
    }

    #[test]
    fn sections_are_titled() {
        let mut bundle = Bundle::new();
        bundle.json("status", &serde_json::json!({"url": "https://a:b@c"}));
        let text = bundle.finish();
        assert!(text.contains("\n== system ==\ntime: "), "{text}");
        assert!(
            text.contains("\n== status ==\n{\n  \"url\": \"https://[removed]@c\"\n}\n"),
            "{text}"
        );
    }
}
