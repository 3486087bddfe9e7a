//! Where the control API of a state directory listens.

use std::path::{Path, PathBuf};

/// Name of the socket in the state directory, where there are sockets.
pub const SOCKET_NAME: &str = "control.sock";

/// Where the daemon of a state directory listens unless told otherwise: a socket in it, or on Windows the pipe
/// [`pipe_name`].
pub fn default_place(state_dir: &Path) -> PathBuf {
    match cfg!(windows) {
        true => pipe_name(state_dir).into(),
        false => state_dir.join(SOCKET_NAME),
    }
}

/// Name of the named pipe that stands for `state_dir` on Windows: `\\.\pipe\osier-` and the first 32 hexadecimal
/// digits of the BLAKE3 hash of the path, absolute, in lower case, with backslashes, and without a `\\?\` in front
/// or a separator at the end. So both ends find it without asking, and no two directories share one.
pub fn pipe_name(state_dir: &Path) -> String {
    let path = state_dir.to_string_lossy().replace('/', "\\").to_lowercase();
    let path = path.strip_prefix(r"\\?\").unwrap_or(&path).trim_end_matches('\\');
    let hash = blake3::derive_key("osier control pipe of a state directory", path.as_bytes());
    let digits: String = hash[..16].iter().map(|octet| format!("{octet:02x}")).collect();
    format!(r"\\.\pipe\osier-{digits}")
}

/// What every pipe's name begins with.
#[cfg(windows)]
const PIPES: &str = r"\\.\pipe\";

/// Whether `name` is one of a pipe, and of no other.
#[cfg(windows)]
pub fn is_pipe(name: &Path) -> bool {
    let name = name.to_string_lossy();
    name.len() > PIPES.len()
        && name
            .get(..PIPES.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(PIPES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(path: &str) -> String {
        pipe_name(Path::new(path))
    }

    #[test]
    fn pipe_is_named_after_its_state_directory() {
        let one = name(r"C:\ProgramData\osier");
        assert_eq!(one.len(), r"\\.\pipe\osier-".len() + 32);
        assert!(one.starts_with(r"\\.\pipe\osier-"), "{one}");
        assert_ne!(one, name(r"C:\ProgramData\osier2"));
        assert_ne!(one, name(r"D:\ProgramData\osier"));
    }

    /// Front ends in other languages compute it too.
    #[test]
    fn pipe_name_never_changes() {
        assert_eq!(
            name(r"C:\ProgramData\osier"),
            r"\\.\pipe\osier-7e73291c686708919748b6840111150d"
        );
    }

    #[test]
    fn spellings_of_one_path_name_one_pipe() {
        let one = name(r"C:\ProgramData\osier");
        for other in [
            r"c:\programdata\OSIER",
            r"C:/ProgramData/osier/",
            r"C:\ProgramData\osier\",
            r"\\?\C:\ProgramData\osier",
        ] {
            assert_eq!(name(other), one, "{other}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn socket_is_in_the_state_directory() {
        assert_eq!(
            default_place(Path::new("/var/lib/osier")),
            Path::new("/var/lib/osier/control.sock")
        );
    }
}
