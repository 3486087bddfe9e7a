//! A spinner on standard error while a command waits; nothing when nobody watches.

use crate::output::{Output, watched};
use indicatif::{ProgressBar, ProgressStyle};
use std::{borrow::Cow, time::Duration};

#[derive(Debug)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Starts to spin with `message`, such as `asking the registry`.
    pub(crate) fn start(output: &Output, message: impl Into<Cow<'static, str>>) -> Self {
        if output.is_json() || !watched() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner();
        // The template is constant and tested below; without it indicatif's own serves.
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        bar.set_message(message);
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

const TEMPLATE: &str = "{spinner} {msg} ({elapsed})";

#[cfg(test)]
mod tests {
    #[test]
    fn the_template_is_valid() {
        assert!(indicatif::ProgressStyle::with_template(super::TEMPLATE).is_ok());
    }
}
