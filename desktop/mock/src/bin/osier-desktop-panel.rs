//! A panel for tests: it knows the windows, and unless told `--no-tray` it shows indicators, as whoever owns the
//! watcher's name on the session bus. It obeys lines on standard input, each answered by one line of JSON:
//!
//! - `windows`: the titles of all windows that are shown;
//! - `close TITLE`: presses the close button of the window with that title; true when there is one;
//! - `menu`: the entries of the icon's menu, `[{"text": …, "enabled": …}]`, or null while there is no icon;
//! - `icon`: the name of the icon that is shown, or null;
//! - `click TEXT`: chooses the entry with that text; true when there is one.

#[cfg(target_os = "linux")]
fn main() -> Result<(), linux::Failure> {
    linux::main()
}

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
mod linux {
    use serde::{Deserialize, Serialize};
    use serde_json::json;
    use std::{
        collections::HashMap,
        io::Write,
        time::{SystemTime, UNIX_EPOCH},
    };
    use tokio::{
        io::{AsyncBufReadExt, BufReader},
        sync::watch,
    };
    use x11rb::{
        connection::Connection as _,
        protocol::xproto::{AtomEnum, ClientMessageEvent, ConnectionExt as _, EventMask, MapState, Window},
        rust_connection::RustConnection,
        wrapper::ConnectionExt as _,
    };
    use zbus::{
        Connection, Proxy, interface,
        message::Header,
        zvariant::{OwnedObjectPath, OwnedValue, Type, Value},
    };

    pub(super) type Failure = Box<dyn std::error::Error>;

    const WATCHER: &str = "org.kde.StatusNotifierWatcher";
    const PLACE: &str = "/StatusNotifierWatcher";
    const ITEM: &str = "org.kde.StatusNotifierItem";
    const MENU: &str = "com.canonical.dbusmenu";

    /// Where an indicator is: its connection's name and its path.
    type Item = (String, String);

    struct Watcher {
        item: watch::Sender<Option<Item>>,
    }

    #[interface(name = "org.kde.StatusNotifierWatcher")]
    impl Watcher {
        /// `service` is a bus name, or a path on the caller's connection.
        fn register_status_notifier_item(&self, service: &str, #[zbus(header)] header: Header<'_>) {
            let sender = header.sender().map(ToString::to_string).unwrap_or_default();
            let item = match service.starts_with('/') {
                true => (sender, service.to_owned()),
                false => (service.to_owned(), "/StatusNotifierItem".to_owned()),
            };
            self.item.send_replace(Some(item));
        }

        fn register_status_notifier_host(&self, _service: &str) {}

        #[zbus(property)]
        fn is_status_notifier_host_registered(&self) -> bool {
            true
        }

        #[zbus(property)]
        fn protocol_version(&self) -> i32 {
            0
        }

        #[zbus(property)]
        fn registered_status_notifier_items(&self) -> Vec<String> {
            self.item
                .borrow()
                .iter()
                .map(|(name, path)| format!("{name}{path}"))
                .collect()
        }
    }

    /// An entry as the protocol has it; entries below it are variants of the same.
    #[derive(Debug, Serialize, Deserialize, Type)]
    struct Layout {
        id: i32,
        properties: HashMap<String, OwnedValue>,
        children: Vec<OwnedValue>,
    }

    struct Entry {
        id: i32,
        text: String,
        enabled: bool,
    }

    #[tokio::main(flavor = "current_thread")]
    pub(super) async fn main() -> Result<(), Failure> {
        let (item, shown) = watch::channel(None);
        let mut bus = zbus::connection::Builder::session()?;
        if std::env::args().all(|argument| argument != "--no-tray") {
            bus = bus.serve_at(PLACE, Watcher { item })?.name(WATCHER)?;
        }
        let bus = bus.build().await?;
        let mut out = std::io::stdout();
        writeln!(out, "ready")?;
        let mut lines = BufReader::new(tokio::io::stdin()).lines();
        while let Some(line) = lines.next_line().await? {
            let item = shown.borrow().clone();
            let answer = match (line.split_once(' ').unwrap_or((&line, "")), item) {
                (("windows", _), _) => json!(Windows::connect()?.titles()?),
                (("close", title), _) => json!(Windows::connect()?.close(title)?),
                (("click", _), None) => json!(false),
                (("icon" | "menu", _), None) => json!(null),
                (("icon", _), Some(item)) => json!(icon(&bus, &item).await?),
                (("click", text), Some(item)) => json!(click(&bus, &item, text).await?),
                (("menu", _), Some(item)) => {
                    let (_, entries) = menu(&bus, &item).await?;
                    let entries = entries
                        .iter()
                        .map(|e| json!({ "text": e.text, "enabled": e.enabled }));
                    entries.collect()
                }
                ((other, _), _) => json!({ "error": format!("no such command: {other}") }),
            };
            writeln!(out, "{answer}")?;
        }
        Ok(())
    }

    /// The windows of the display. There is no window manager: all are children of the root.
    struct Windows {
        connection: RustConnection,
        root: Window,
    }

    impl Windows {
        fn connect() -> Result<Self, Failure> {
            let (connection, screen) = x11rb::connect(None)?;
            let root = connection.setup().roots[screen].root;
            Ok(Self { connection, root })
        }

        fn shown(&self) -> Result<Vec<(Window, String)>, Failure> {
            let mut shown = Vec::new();
            for window in self.connection.query_tree(self.root)?.reply()?.children {
                // A window may go while we look.
                let Ok(attributes) = self.connection.get_window_attributes(window)?.reply() else {
                    continue;
                };
                let name =
                    self.connection
                        .get_property(false, window, AtomEnum::WM_NAME, AtomEnum::ANY, 0, 64)?;
                if let (MapState::VIEWABLE, Ok(name)) = (attributes.map_state, name.reply())
                    && !name.value.is_empty()
                {
                    shown.push((window, String::from_utf8_lossy(&name.value).into_owned()));
                }
            }
            Ok(shown)
        }

        fn titles(&self) -> Result<Vec<String>, Failure> {
            Ok(self.shown()?.into_iter().map(|(_, title)| title).collect())
        }

        /// Asks as a window manager does when its close button is pressed.
        fn close(&self, title: &str) -> Result<bool, Failure> {
            let Some((window, _)) = self.shown()?.into_iter().find(|(_, name)| name == title) else {
                return Ok(false);
            };
            let atom = |name: &str| -> Result<u32, Failure> {
                Ok(self.connection.intern_atom(false, name.as_bytes())?.reply()?.atom)
            };
            let data = [atom("WM_DELETE_WINDOW")?, x11rb::CURRENT_TIME, 0, 0, 0];
            let message = ClientMessageEvent::new(32, window, atom("WM_PROTOCOLS")?, data);
            self.connection
                .send_event(false, window, EventMask::NO_EVENT, message)?;
            self.connection.sync()?;
            Ok(true)
        }
    }

    async fn icon(bus: &Connection, (name, path): &Item) -> zbus::Result<String> {
        Proxy::new(bus, name.as_str(), path.as_str(), ITEM)
            .await?
            .get_property("IconName")
            .await
    }

    async fn click(bus: &Connection, item: &Item, text: &str) -> zbus::Result<bool> {
        let (menu, entries) = menu(bus, item).await?;
        let Some(entry) = entries.iter().find(|e| e.text == text) else {
            return Ok(false);
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        menu.call_method(
            "Event",
            &(entry.id, "clicked", Value::I32(0), now.as_secs() as u32),
        )
        .await?;
        Ok(true)
    }

    async fn menu<'a>(bus: &Connection, (name, path): &Item) -> zbus::Result<(Proxy<'a>, Vec<Entry>)> {
        let item = Proxy::new(bus, name.as_str(), path.as_str(), ITEM).await?;
        let place: OwnedObjectPath = item.get_property("Menu").await?;
        let menu = Proxy::new(bus, name.clone(), place, MENU).await?;
        // What a panel says before it shows a menu.
        let _: bool = menu.call("AboutToShow", &(0_i32)).await.unwrap_or(false);
        let (_, root): (u32, Layout) = menu
            .call("GetLayout", &(0_i32, -1_i32, Vec::<&str>::new()))
            .await?;
        let entries = root.children.into_iter().filter_map(|child| {
            let (id, properties, _): (i32, HashMap<String, OwnedValue>, Vec<OwnedValue>) =
                child.try_into().ok()?;
            let text = |key: &str| {
                properties
                    .get(key)
                    .and_then(|v| <&str>::try_from(v).ok())
                    .map(str::to_owned)
            };
            if text("type").as_deref() == Some("separator") {
                return None;
            }
            let enabled = properties
                .get("enabled")
                .and_then(|v| bool::try_from(v).ok())
                .unwrap_or(true);
            // An underscore marks a key; a doubled one is itself.
            let label = text("label")?
                .replace("__", "\u{0}")
                .replace('_', "")
                .replace('\u{0}', "_");
            Some(Entry {
                id,
                text: label,
                enabled,
            })
        });
        Ok((menu, entries.collect()))
    }
}
