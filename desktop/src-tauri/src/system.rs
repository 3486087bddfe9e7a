//! What a page cannot do by itself: start the service, start the app at login, save a file, ask for a tray.

use osier_control::client::Client;
use serde::Serialize;
use std::{
    env, io,
    path::{Path, PathBuf},
    process::Output,
};
use tauri::{AppHandle, Manager, State};
use tauri_plugin_autostart::ManagerExt;

/// The service's unit, as `osier service install` and the package name it.
const UNIT: &str = "osier.service";

/// What the page shows under "About", and needs to know of this system.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct About {
    version: String,
    socket: PathBuf,
    /// There is a tray that shows our icon.
    tray: bool,
    autostart: bool,
    /// Who uses the app; empty where the system does not say.
    user: String,
}

#[tauri::command]
pub(crate) async fn about(app: AppHandle, client: State<'_, Client>) -> Result<About, String> {
    Ok(About {
        version: app.package_info().version.to_string(),
        socket: client.socket().to_owned(),
        tray: shows_tray().await,
        autostart: app.autolaunch().is_enabled().unwrap_or(false),
        user: env::var("USER")
            .or_else(|_| env::var("USERNAME"))
            .unwrap_or_default(),
    })
}

#[tauri::command]
pub(crate) fn set_autostart(app: AppHandle, on: bool) -> Result<(), String> {
    let autostart = app.autolaunch();
    match on {
        true => autostart.enable(),
        false => autostart.disable(),
    }
    .map_err(|error| error.to_string())
}

/// Why the service was not started; the page has a text for each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub(crate) enum StartFailure {
    /// There is no way to ask for the permission.
    NoPkexec,
    NoSystemd,
    NotInstalled,
    /// The question for the password was closed, or answered wrongly.
    NotPermitted,
    Other {
        message: String,
    },
}

/// Has systemd start the service; the system asks the user for permission.
#[tauri::command]
pub(crate) async fn start_service() -> Result<(), StartFailure> {
    if cfg!(not(target_os = "linux")) || find("systemctl").is_none() {
        return Err(StartFailure::NoSystemd);
    }
    let pkexec = find("pkexec").ok_or(StartFailure::NoPkexec)?;
    let output = tokio::process::Command::new(pkexec)
        .args(["systemctl", "start", UNIT])
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;
    judge(output)
}

fn judge(output: io::Result<Output>) -> Result<(), StartFailure> {
    let other = |message: String| Err(StartFailure::Other { message });
    let output = match output {
        Ok(output) => output,
        Err(error) => return other(error.to_string()),
    };
    match output.status.code() {
        Some(0) => Ok(()),
        // pkexec: the dialogue was closed, or permission was not given.
        Some(126 | 127) => Err(StartFailure::NotPermitted),
        // systemctl: no such unit.
        Some(5) => Err(StartFailure::NotInstalled),
        _ => other(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// The program `name` in the search path.
fn find(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

/// Saves `text` in the user's folder for downloads, under a name that is not taken; the answer is where.
#[tauri::command]
pub(crate) async fn save(app: AppHandle, name: String, text: String) -> Result<PathBuf, String> {
    let folder = app.path().download_dir().or_else(|_| app.path().home_dir());
    let folder = folder.map_err(|error| error.to_string())?;
    save_in(&folder, &name, text.as_bytes()).map_err(|error| error.to_string())
}

/// `name` is `STEM.EXTENSION`, of letters, digits, hyphens and one dot.
fn save_in(folder: &Path, name: &str, content: &[u8]) -> io::Result<PathBuf> {
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let (stem, extension) = match name.split_once('.') {
        Some((stem, extension)) if plain(stem) && plain(extension) => (stem, extension),
        _ => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "not a plain file name",
            ));
        }
    };
    std::fs::create_dir_all(folder)?;
    let names = std::iter::once(name.to_owned()).chain((2..1000).map(|n| format!("{stem}-{n}.{extension}")));
    for name in names {
        let path = folder.join(name);
        match create(&path) {
            Ok(mut file) => {
                io::Write::write_all(&mut file, content)?;
                return Ok(path);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// For this user only: a bundle holds addresses and names.
fn create(path: &Path) -> io::Result<std::fs::File> {
    let mut options = std::fs::File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Whether this desktop shows our icon: on Linux, whether anyone hosts indicators.
#[cfg(target_os = "linux")]
pub(crate) async fn shows_tray() -> bool {
    async fn ask() -> zbus::Result<bool> {
        const WATCHER: &str = "org.kde.StatusNotifierWatcher";
        let bus = zbus::Connection::session().await?;
        let reply = bus
            .call_method(
                Some(WATCHER),
                "/StatusNotifierWatcher",
                Some("org.freedesktop.DBus.Properties"),
                "Get",
                &(WATCHER, "IsStatusNotifierHostRegistered"),
            )
            .await?;
        let value: zbus::zvariant::OwnedValue = reply.body().deserialize()?;
        Ok(bool::try_from(value)?)
    }
    // No bus, no watcher, or one that is stuck: no tray.
    let limit = std::time::Duration::from_secs(2);
    matches!(tokio::time::timeout(limit, ask()).await, Ok(Ok(true)))
}

#[cfg(not(target_os = "linux"))]
pub(crate) async fn shows_tray() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_saved_privately_and_never_over_others() {
        let folder = tempfile::tempdir().unwrap();
        let save = |name: &str| save_in(folder.path(), name, b"text");
        let first = save("osier-usage.csv").unwrap();
        assert!(first.ends_with("osier-usage.csv"));
        assert!(save("osier-usage.csv").unwrap().ends_with("osier-usage-2.csv"));
        assert_eq!(std::fs::read(&first).unwrap(), b"text");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(first).unwrap().permissions().mode() & 0o077, 0);
        }
        for name in ["../x.csv", "a/b.csv", ".csv", "x", "x.c/d", "x.csv.exe", ""] {
            assert!(save(name).is_err(), "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn results_of_pkexec_and_systemctl_have_names() {
        use std::os::unix::process::ExitStatusExt;
        let ended = |code: i32| {
            judge(Ok(Output {
                status: std::process::ExitStatus::from_raw(code << 8),
                stdout: Vec::new(),
                stderr: b"it said so\n".to_vec(),
            }))
        };
        assert_eq!(ended(0), Ok(()));
        assert_eq!(ended(126), Err(StartFailure::NotPermitted));
        assert_eq!(ended(5), Err(StartFailure::NotInstalled));
        let message = "it said so".to_owned();
        assert_eq!(ended(1), Err(StartFailure::Other { message }));
    }
}
