//! The window, and the invites that links bring.

use crate::system;
use serde::Serialize;
use std::sync::Mutex;
use tauri::{
    AppHandle, Emitter, Manager, State, Url, WebviewUrl, WebviewWindowBuilder,
    async_runtime::{block_on, spawn},
};

pub(crate) const MAIN: &str = "main";
/// Starts without a window where there is a tray to open it from.
pub(crate) const HIDDEN: &str = "--hidden";
/// What the links begin with.
const INVITES: &str = "osier://join/";

/// An invite that a link brought and the page has not taken yet. It is a secret: it goes to the page and nowhere else.
#[derive(Debug, Default)]
pub(crate) struct Invite(Mutex<Option<String>>);

impl Invite {
    fn replace(&self, invite: Option<String>) -> Option<String> {
        // Nobody panics while holding it.
        let mut held = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        std::mem::replace(&mut *held, invite)
    }
}

#[tauri::command]
pub(crate) fn take_invite(invite: State<'_, Invite>) -> Option<String> {
    invite.replace(None)
}

pub(crate) fn create(app: &AppHandle) -> tauri::Result<()> {
    let hidden = std::env::args().any(|argument| argument == HIDDEN) && block_on(system::shows_tray());
    WebviewWindowBuilder::new(app, MAIN, WebviewUrl::App("index.html".into()))
        .title("Osier")
        .inner_size(960.0, 680.0)
        .min_inner_size(360.0, 480.0)
        .visible(!hidden)
        .build()?;
    Ok(())
}

pub(crate) fn show(app: &AppHandle) {
    if let Some(window) = app.get_webview_window(MAIN) {
        // Each may be refused by a window manager; the next is tried all the same.
        let _ = window.show();
        let _ = window.unminimize();
        let _ = window.set_focus();
    }
}

/// The close button: back to the tray; without a tray, the end. The network stays as it is either way.
pub(crate) fn closed(app: &AppHandle) {
    let app = app.clone();
    spawn(async move {
        match (system::shows_tray().await, app.get_webview_window(MAIN)) {
            (true, Some(window)) => {
                let _ = window.hide();
            }
            _ => app.exit(0),
        }
    });
}

/// Links were opened. Only invites are; the page decides what to do with one.
pub(crate) fn opened(app: &AppHandle, urls: &[Url]) {
    let Some(invite) = urls.iter().find_map(|url| invite_of(url.as_str())) else {
        return;
    };
    app.state::<Invite>().replace(Some(invite));
    show(app);
    tell(app, "invite", ());
}

fn invite_of(url: &str) -> Option<String> {
    url.starts_with(INVITES).then(|| url.to_owned())
}

/// Tells the page that something has happened.
pub(crate) fn tell(app: &AppHandle, event: &str, payload: impl Serialize + Clone) {
    // Fails when there is no page any more.
    let _ = app.emit(event, payload);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_invites_are_taken_from_links() {
        assert_eq!(invite_of("osier://join/AbC").as_deref(), Some("osier://join/AbC"));
        assert_eq!(invite_of("osier://leave/now"), None);
        assert_eq!(invite_of("https://example.org/osier://join/x"), None);
    }

    #[test]
    fn an_invite_is_taken_once() {
        let invite = Invite::default();
        assert_eq!(invite.replace(Some("a".into())), None);
        assert_eq!(invite.replace(None).as_deref(), Some("a"));
        assert_eq!(invite.replace(None), None);
    }
}
