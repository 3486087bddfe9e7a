//! Getting into a lab.

use crate::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

/// Set inside a lab.
const MARK: &str = "OSIER_LAB";

/// Runs as the lab's first process. It stays (the `exit` keeps the shell from replacing itself), because the
/// first process of a PID namespace must collect orphans and ignores most signals. A tmpfs on /run hides the
/// host's namespaces and sockets and gives scratch space that needs no cleaning.
const SETUP: &str = r#"
mount -t tmpfs -o mode=755 tmpfs /run && mkdir -p /run/netns /run/lock /run/lab && ip link set lo up || exit 125
"$0" "$@"
exit $?
"#;

/// Serialises tests of one program that call [`enter`] at the same time: the first runs them all again.
static ENTERING: Mutex<()> = Mutex::new(());

/// Whether this process already runs in a lab.
pub fn inside() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Makes sure that the calling program runs in a lab; see the crate documentation. Returns only inside one.
///
/// Call it before anything with effects, because outside a lab the program starts again from the beginning.
///
/// # Panics
/// When this machine permits no namespaces at all; the message says what to change.
pub fn enter() {
    if inside() {
        return;
    }
    let _only_one = ENTERING.lock();
    let status = match run_again() {
        Ok(status) => status,
        Err(error) => panic!("{error}"),
    };
    std::process::exit(status);
}

fn run_again() -> Result<i32> {
    let flags = namespaces()?;
    let exe = std::env::current_exe().map_err(|e| Error::new(format!("cannot find this program: {e}")))?;
    let mut command = unshare(flags, ["sh", "-c", SETUP]);
    command.arg(exe).args(std::env::args_os().skip(1)).env(MARK, "1");
    let status = command
        .status()
        .map_err(|e| Error::new(format!("cannot run unshare: {e}")))?;
    Ok(status.code().unwrap_or(1))
}

/// Namespaces to leave in order of preference. A user namespace keeps even root from touching the host; where
/// those are forbidden, real root does without.
const CHOICES: [&[&str]; 2] = [&["--user", "--map-root-user"], &[]];

/// The first choice that works on this machine.
fn namespaces() -> Result<&'static [&'static str]> {
    let mut reasons = String::new();
    for flags in CHOICES {
        let probe = unshare(flags, ["sh", "-c", "mount -t tmpfs tmpfs /run"])
            .stdin(Stdio::null())
            .output();
        match probe {
            Ok(output) if output.status.success() => return Ok(flags),
            Ok(output) => reasons += &format!("\n  {}", String::from_utf8_lossy(&output.stderr).trim()),
            Err(error) => reasons += &format!("\n  unshare: {error}"),
        }
    }
    Err(Error::new(format!(
        "cannot make namespaces here; run as root, or permit user namespaces \
         (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, \
         kernel.apparmor_restrict_unprivileged_userns). Tried:{reasons}"
    )))
}

/// `unshare` with every namespace we need. When the calling thread dies, so does everything inside.
fn unshare<'a>(flags: &[&str], command: impl IntoIterator<Item = &'a str>) -> Command {
    let mut unshare = Command::new("setpriv");
    unshare
        .args(["--pdeathsig", "KILL", "unshare"])
        .args(flags)
        .args([
            "--net",
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
        ])
        .args(command);
    unshare
}

/// The path of a program, also from the administrator's directories that a user's `PATH` may lack.
///
/// # Errors
/// When it is missing: names the Debian package to install.
pub fn tool(program: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    let administrator = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(administrator)
        .map(|directory| directory.join(program))
        .find(|candidate| is_file(candidate))
        .ok_or_else(|| {
            Error::new(format!(
                "{program} is not installed: run `apt-get install {package}` (Debian package {package})"
            ))
        })
}

fn is_file(path: &Path) -> bool {
    path.file_name() != Some(OsStr::new("")) && path.is_file()
}
