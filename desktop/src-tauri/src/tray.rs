//! The tray icon. The page says what is on it; each change brings a whole new menu, since indicators on Linux do not
//! take changes of single entries reliably. They know no left click and no tooltip either, so the first entry tells
//! the state, and there is one to open the window. Elsewhere a left click opens it.

use crate::window;
use serde::Deserialize;
use tauri::{
    AppHandle, Wry,
    image::Image,
    menu::{Menu, MenuEvent, MenuItem, PredefinedMenuItem},
    tray::{MouseButton, MouseButtonState, TrayIcon, TrayIconBuilder, TrayIconEvent},
};

const ID: &str = "osier";
/// The entry that this side obeys itself …
const QUIT: &str = "quit";
/// … and the one that needs no window; with all others it opens, so that it does even when the page is stuck.
const SWITCH: &str = "switch";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Face {
    Off,
    Connecting,
    Connected,
    Limited,
    Attention,
}

impl Face {
    fn png(self) -> &'static [u8] {
        match self {
            Self::Off => include_bytes!("../icons/tray-off.png"),
            Self::Connecting => include_bytes!("../icons/tray-connecting.png"),
            Self::Connected => include_bytes!("../icons/tray-connected.png"),
            Self::Limited => include_bytes!("../icons/tray-limited.png"),
            Self::Attention => include_bytes!("../icons/tray-attention.png"),
        }
    }
}

/// One line of the menu.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Entry {
    /// Empty for a line that only tells something; a separator has no text either.
    #[serde(default)]
    id: String,
    #[serde(default)]
    text: String,
}

/// Shows this on the tray, whole.
#[tauri::command]
pub(crate) async fn show_tray(
    app: AppHandle,
    face: Face,
    line: String,
    entries: Vec<Entry>,
) -> Result<(), String> {
    show(&app, face, &line, &entries).map_err(|error| error.to_string())
}

fn show(app: &AppHandle, face: Face, line: &str, entries: &[Entry]) -> tauri::Result<()> {
    let menu = menu(app, entries)?;
    let icon = Image::from_bytes(face.png())?;
    let Some(tray) = app.tray_by_id(ID) else {
        return create(app, icon, &menu, line).map(drop);
    };
    tray.set_icon(Some(icon))?;
    tray.set_menu(Some(menu))?;
    tray.set_tooltip(Some(line))
}

fn create(app: &AppHandle, icon: Image<'_>, menu: &Menu<Wry>, line: &str) -> tauri::Result<TrayIcon> {
    TrayIconBuilder::with_id(ID)
        .icon(icon)
        .tooltip(line)
        .menu(menu)
        .show_menu_on_left_click(false)
        .on_menu_event(chosen)
        .on_tray_icon_event(|tray, event| {
            if let TrayIconEvent::Click {
                button: MouseButton::Left,
                button_state: MouseButtonState::Up,
                ..
            } = event
            {
                window::show(tray.app_handle());
            }
        })
        .build(app)
}

fn menu(app: &AppHandle, entries: &[Entry]) -> tauri::Result<Menu<Wry>> {
    let menu = Menu::new(app)?;
    for entry in entries {
        match entry {
            Entry { id, text } if id.is_empty() && text.is_empty() => {
                menu.append(&PredefinedMenuItem::separator(app)?)?;
            }
            Entry { id, text } => {
                let text = plain(text);
                menu.append(&MenuItem::with_id(app, id, text, !id.is_empty(), None::<&str>)?)?;
            }
        }
    }
    Ok(menu)
}

/// Menus take `&` for the mark of a shortcut, and cannot break lines: names may hold anything.
fn plain(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut short: String = text.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
    if text.chars().count() > LONGEST {
        short.push('…');
    }
    short.replace('&', "&&")
}

fn chosen(app: &AppHandle, event: MenuEvent) {
    match event.id().as_ref() {
        QUIT => app.exit(0),
        id => {
            if id != SWITCH {
                window::show(app);
            }
            window::tell(app, "tray", id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_face_is_a_png() {
        for face in [
            Face::Off,
            Face::Connecting,
            Face::Connected,
            Face::Limited,
            Face::Attention,
        ] {
            assert!(Image::from_bytes(face.png()).is_ok(), "{face:?}");
        }
    }

    #[test]
    fn names_cannot_disfigure_the_menu() {
        assert_eq!(plain("a&b\nc"), "a&&bc");
        assert_eq!(plain(&"x".repeat(200)).chars().count(), 61);
    }
}
