//! A named pipe. It is not trusted because of its name: whoever made it is looked at.

use crate::{access, place::is_pipe};
use std::{
    fs::File,
    io,
    os::windows::{
        fs::OpenOptionsExt,
        io::{AsHandle, IntoRawHandle},
    },
    path::Path,
    time::Duration,
};
use tokio::{net::windows::named_pipe::NamedPipeClient, time::Instant};
use windows_sys::Win32::{
    Foundation::ERROR_PIPE_BUSY,
    Storage::FileSystem::{
        FILE_APPEND_DATA, FILE_FLAG_OVERLAPPED, FILE_GENERIC_READ, FILE_GENERIC_WRITE,
        SECURITY_IDENTIFICATION,
    },
};

/// What a client needs. "Append" on a pipe means making instances of it, hence serving.
pub const CLIENT_RIGHTS: u32 = (FILE_GENERIC_READ | FILE_GENERIC_WRITE) & !FILE_APPEND_DATA;
/// A pipe all of whose instances are taken gets a new one in an instant.
const BUSY: Duration = Duration::from_secs(2);

pub async fn connect(name: &Path) -> io::Result<NamedPipeClient> {
    if !is_pipe(name) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!(
                r"{} is not the name of a pipe: on Windows the control socket is a named pipe, \\.\pipe\NAME",
                name.display()
            ),
        ));
    }
    let end = Instant::now() + BUSY;
    let file = loop {
        let opened = File::options()
            .access_mode(CLIENT_RIGHTS)
            .share_mode(0)
            .custom_flags(FILE_FLAG_OVERLAPPED)
            // Whoever serves it must not act in our name.
            .security_qos_flags(SECURITY_IDENTIFICATION)
            .open(name);
        match opened {
            Err(error) if error.raw_os_error() == Some(ERROR_PIPE_BUSY as i32) && Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            other => break other?,
        }
    };
    if !access::owner_is_trusted(file.as_handle())? {
        return Err(io::Error::other(format!(
            "the pipe {} was made by a user who is neither you nor an administrator",
            name.display()
        )));
    }
    // SAFETY: the handle is of a pipe, open for overlapped use, and from here on tokio's.
    unsafe { NamedPipeClient::from_raw_handle(file.into_raw_handle()) }
}
