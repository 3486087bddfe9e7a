//! Where results go: standard output, as JSON or as text for people. Everything else (progress, notes, errors)
//! goes to standard error, so that results can be piped.

use crate::exit::{Exit, Failure, Outcome};
use anstyle::{AnsiColor, Style};
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use std::{
    fmt::Display,
    io::{ErrorKind, IsTerminal, Write},
};

pub(crate) const BOLD: Style = Style::new().bold();
pub(crate) const DIM: Style = Style::new().dimmed();
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();

/// `text` in `style`. The stream strips the codes when it is no terminal or `NO_COLOR` is set.
pub(crate) fn paint(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// How a command shows its results.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// One result: a JSON document, or what `human` makes of it.
    pub(crate) fn show<T: Serialize>(&self, value: &T, human: impl FnOnce(&T) -> String) -> Outcome {
        match self.json {
            true => self.write(&(encode(serde_json::to_string_pretty(value))? + "\n")),
            false => self.write(&human(value)),
        }
    }

    /// One of many results in a stream: a line of JSON, or what `human` makes of it.
    pub(crate) fn stream<T: Serialize>(&self, value: &T, human: impl FnOnce(&T) -> String) -> Outcome {
        match self.json {
            true => self.write(&(encode(serde_json::to_string(value))? + "\n")),
            false => self.write(&human(value)),
        }
    }

    /// Text to standard output in both modes (completions, unit files, pictures).
    pub(crate) fn write(&self, text: &str) -> Outcome {
        let mut stdout = anstream::stdout().lock();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            // The reader (`head`, a pager) has seen enough.
            Err(e) if e.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
            result => result.map_err(|e| Failure::io("cannot write to standard output", &e)),
        }
    }

    /// A remark for people, on standard error; nothing with `--json`.
    pub(crate) fn note(&self, text: impl Display) {
        if !self.json {
            say(&format!("{text}\n"));
        }
    }

    /// The document of a failure, with `--json`.
    pub(crate) fn print_failure(&self, failure: &Failure) {
        if self.json
            && let Ok(text) = serde_json::to_string_pretty(&failure.to_json())
        {
            let _ = self.write(&(text + "\n"));
        }
    }

    /// Reports why the command failed.
    pub(crate) fn fail(&self, failure: &Failure) {
        self.print_failure(failure);
        let mut text = format!("{} {}\n", paint(BAD, "error:"), failure.message);
        if let Some(advice) = &failure.advice {
            text.push_str(&format!(" {} {advice}\n", paint(BOLD, "help:")));
        }
        say(&text);
    }
}

/// Writes to standard error; when that is closed there is nobody to tell.
pub(crate) fn say(text: &str) {
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
}

/// Whether a person watches standard error.
pub(crate) fn watched() -> bool {
    std::io::stderr().is_terminal()
}

fn encode(text: serde_json::Result<String>) -> Outcome<String> {
    text.map_err(|e| Failure::plain(Exit::Failure, format!("cannot encode the result: {e}")))
}

/// A table without lines: bold headings, columns two spaces apart, `right` columns aligned to the right.
pub(crate) fn table<const N: usize>(
    headings: [&str; N],
    right: &[usize],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_content_arrangement(comfy_table::ContentArrangement::Disabled);
    table.set_header(headings);
    for row in rows {
        table.add_row(row);
    }
    for (i, column) in table.column_iter_mut().enumerate() {
        column.set_padding((if i == 0 { 0 } else { 2 }, 0));
        if right.contains(&i) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    // Styles come after the layout, so that their codes take no part in it.
    let mut text = String::new();
    for (i, line) in table.lines().enumerate() {
        match i {
            0 => text.push_str(&paint(BOLD, line.trim_end())),
            _ => text.push_str(line.trim_end()),
        }
        text.push('\n');
    }
    text
}

/// `name: value` lines with the values in one column.
pub(crate) fn fields(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 1;
    rows.iter()
        .map(|(name, value)| {
            format!(
                "{} {value}\n",
                paint(DIM, format!("{:<width$}", format!("{name}:")))
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_align_and_end_without_blanks() {
        let text = table(
            ["name", "n"],
            &[1],
            [["a".into(), "10".into()], ["long".into(), "".into()]],
        );
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(plain, "name   n\na     10\nlong\n");
    }

    #[test]
    fn fields_align_their_values() {
        let text = fields(&[("name", "x".into()), ("address", "y".into())]);
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(plain, "name:    x\naddress: y\n");
    }
}
