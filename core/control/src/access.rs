//! Security identifiers (SIDs), and descriptors that say who may open what.

use std::{
    ffi::{OsStr, c_void},
    io,
    os::windows::{
        ffi::OsStrExt,
        io::{AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle},
    },
    ptr, slice,
};
use windows_sys::Win32::{
    Foundation::{ERROR_INSUFFICIENT_BUFFER, ERROR_NONE_MAPPED, LocalFree},
    Security::{
        Authorization::{
            ConvertSidToStringSidW, ConvertStringSecurityDescriptorToSecurityDescriptorW,
            ConvertStringSidToSidW, GetSecurityInfo, SDDL_REVISION_1, SE_KERNEL_OBJECT,
        },
        CheckTokenMembership, CreateWellKnownSid, EqualSid, GetTokenInformation, IsWellKnownSid,
        LookupAccountNameW, OWNER_SECURITY_INFORMATION, PSID, SECURITY_ATTRIBUTES, SECURITY_MAX_SID_SIZE,
        SID_NAME_USE, TOKEN_QUERY, TOKEN_USER, TokenUser, WinBuiltinAdministratorsSid, WinLocalServiceSid,
        WinLocalSystemSid, WinNetworkServiceSid,
    },
    System::Threading::{GetCurrentProcess, OpenProcessToken},
};

/// A group of users (or one user), by its SID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    sid: String,
}

impl Group {
    /// The group with this name (`Users`, `DOMAIN\staff`) or SID (`S-1-…`); `None` when there is no such name.
    pub fn find(name: &str) -> io::Result<Option<Self>> {
        let sid = match name.starts_with("S-1-") {
            true => Some(parse_sid(name)?),
            false => look_up(name)?,
        };
        let sid = sid.map(|sid| sid.text()).transpose()?;
        Ok(sid.map(|sid| Self { sid }))
    }
}

/// Whether this process may do all on the machine: an administrator's, elevated, or the system's.
pub fn is_privileged() -> bool {
    let Ok(administrators) = well_known(WinBuiltinAdministratorsSid) else {
        return false;
    };
    let mut member = 0;
    // SAFETY: the SID is valid; a null token means that of this thread or process.
    let asked = unsafe { CheckTokenMembership(ptr::null_mut(), administrators.as_ptr(), &raw mut member) };
    asked != 0 && member != 0
}

/// A SID in a buffer of our own, aligned as it must be.
struct Sid(Vec<u32>);

impl Sid {
    fn with_size(octets: u32) -> Self {
        Self(vec![0; (octets as usize).div_ceil(4)])
    }

    fn as_ptr(&self) -> PSID {
        self.0.as_ptr().cast_mut().cast()
    }

    fn text(&self) -> io::Result<String> {
        text_of(self.as_ptr())
    }
}

/// What the system allocated for us.
struct Local(*mut c_void);

impl Drop for Local {
    fn drop(&mut self) {
        // SAFETY: from a call that says to free it so, and freed once.
        unsafe { LocalFree(self.0) };
    }
}

fn text_of(sid: PSID) -> io::Result<String> {
    let mut text = ptr::null_mut();
    // SAFETY: the callers give a valid SID.
    check(unsafe { ConvertSidToStringSidW(sid, &raw mut text) })?;
    let _text = Local(text.cast());
    // SAFETY: the system has written a zero at the end of what it allocated.
    let length = (0..).take_while(|at| unsafe { *text.add(*at) } != 0).count();
    // SAFETY: so many were just read.
    Ok(String::from_utf16_lossy(unsafe {
        slice::from_raw_parts(text, length)
    }))
}

fn parse_sid(text: &str) -> io::Result<Sid> {
    let mut sid = ptr::null_mut();
    // SAFETY: the text ends with a zero.
    check(unsafe { ConvertStringSidToSidW(wide(text).as_ptr(), &raw mut sid) })?;
    let _sid = Local(sid);
    copy(sid)
}

fn copy(sid: PSID) -> io::Result<Sid> {
    // SAFETY: the callers give a valid SID, whose second octet is the number of its 4-octet parts after the first 8.
    let parts = usize::from(unsafe { *sid.cast::<u8>().add(1) });
    let mut own = Sid(vec![0; 2 + parts]);
    // SAFETY: a SID has 8 octets and 4 for each part, which is the length of both.
    unsafe { ptr::copy_nonoverlapping(sid.cast::<u8>(), own.0.as_mut_ptr().cast(), 8 + 4 * parts) };
    Ok(own)
}

fn look_up(name: &str) -> io::Result<Option<Sid>> {
    let name = wide(name);
    let mut sid = Sid::with_size(SECURITY_MAX_SID_SIZE);
    // Longer than any domain's name may be.
    let mut domain = [0_u16; 256];
    let (mut sid_size, mut domain_size) = (SECURITY_MAX_SID_SIZE, domain.len() as u32);
    let mut kind: SID_NAME_USE = 0;
    // SAFETY: the name ends with a zero; both buffers have the sizes given.
    let found = check(unsafe {
        LookupAccountNameW(
            ptr::null(),
            name.as_ptr(),
            sid.0.as_mut_ptr().cast(),
            &raw mut sid_size,
            domain.as_mut_ptr(),
            &raw mut domain_size,
            &raw mut kind,
        )
    });
    match found {
        Ok(()) => Ok(Some(sid)),
        Err(error) if error.raw_os_error() == Some(ERROR_NONE_MAPPED as i32) => Ok(None),
        Err(error) => Err(error),
    }
}

fn well_known(kind: i32) -> io::Result<Sid> {
    let mut sid = Sid::with_size(SECURITY_MAX_SID_SIZE);
    let mut size = SECURITY_MAX_SID_SIZE;
    // SAFETY: the buffer has the size given, which is enough for every SID.
    check(unsafe { CreateWellKnownSid(kind, ptr::null_mut(), sid.0.as_mut_ptr().cast(), &raw mut size) })?;
    Ok(sid)
}

/// The user of this process.
fn own_user() -> io::Result<Sid> {
    let mut token = ptr::null_mut();
    // SAFETY: the pseudo-handle of this process needs no care.
    check(unsafe { OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &raw mut token) })?;
    // SAFETY: the handle is new and nobody else's.
    let token = unsafe { OwnedHandle::from_raw_handle(token) };
    let mut size = 0;
    // SAFETY: asks for the size only, which is an error by definition.
    unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenUser,
            ptr::null_mut(),
            0,
            &raw mut size,
        )
    };
    let error = io::Error::last_os_error();
    if error.raw_os_error() != Some(ERROR_INSUFFICIENT_BUFFER as i32) {
        return Err(error);
    }
    // Aligned for the pointer at its start.
    let mut buffer = vec![0_u64; (size as usize).div_ceil(8)];
    // SAFETY: the buffer has at least the size given.
    check(unsafe {
        GetTokenInformation(
            token.as_raw_handle(),
            TokenUser,
            buffer.as_mut_ptr().cast(),
            size,
            &raw mut size,
        )
    })?;
    // SAFETY: the call has filled in this structure; its SID is in the same buffer.
    copy(unsafe { (*buffer.as_ptr().cast::<TOKEN_USER>()).User.Sid })
}

/// Whether someone made `handle`'s object whom we may trust with our requests: ourselves, the administrators, the
/// system or one of its service accounts.
pub fn owner_is_trusted(handle: BorrowedHandle<'_>) -> io::Result<bool> {
    let (mut owner, mut descriptor) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: the handle is open; what is not asked for may be null.
    let error = unsafe {
        GetSecurityInfo(
            handle.as_raw_handle(),
            SE_KERNEL_OBJECT,
            OWNER_SECURITY_INFORMATION,
            &raw mut owner,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
            &raw mut descriptor,
        )
    };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error as i32));
    }
    let _descriptor = Local(descriptor);
    let trusted = [
        WinBuiltinAdministratorsSid,
        WinLocalSystemSid,
        WinLocalServiceSid,
        WinNetworkServiceSid,
    ];
    let own = own_user()?;
    // SAFETY: the owner's SID is valid as long as the descriptor, which lives to the end of this function.
    Ok(unsafe {
        trusted.iter().any(|kind| IsWellKnownSid(owner, *kind) != 0) || EqualSid(owner, own.as_ptr()) != 0
    })
}

/// Who may do what with an object.
pub struct Descriptor {
    pointer: Local,
}

// SAFETY: nothing changes it after it was made, and only its end frees it.
unsafe impl Send for Descriptor {}
// SAFETY: likewise.
unsafe impl Sync for Descriptor {}

impl std::fmt::Debug for Descriptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Descriptor").finish_non_exhaustive()
    }
}

impl Descriptor {
    /// Everything for our own user, the administrators and the system, nothing for anyone else, whatever the folder
    /// above would let them. For a directory, likewise for what is made in it.
    pub fn private(inherited: bool) -> io::Result<Self> {
        Self::parse(&Self::private_text(inherited)?)
    }

    /// As [`Self::private`]; a group besides gets `rights` (an access mask).
    pub fn private_but_for(group: Option<&Group>, rights: u32) -> io::Result<Self> {
        let mut text = Self::private_text(false)?;
        if let Some(group) = group {
            text += &format!("(A;;{rights:#x};;;{})", group.sid);
        }
        Self::parse(&text)
    }

    fn private_text(inherited: bool) -> io::Result<String> {
        let flags = if inherited { "OICI" } else { "" };
        let own = own_user()?.text()?;
        // Said, not left to the system's default: clients look at it.
        let owner = if is_privileged() { "BA" } else { own.as_str() };
        Ok(format!(
            "O:{owner}D:P(A;{flags};FA;;;SY)(A;{flags};FA;;;BA)(A;{flags};FA;;;{own})"
        ))
    }

    fn parse(text: &str) -> io::Result<Self> {
        let mut descriptor = ptr::null_mut();
        // SAFETY: the text ends with a zero; nobody asks for the size.
        check(unsafe {
            ConvertStringSecurityDescriptorToSecurityDescriptorW(
                wide(text).as_ptr(),
                SDDL_REVISION_1,
                &raw mut descriptor,
                ptr::null_mut(),
            )
        })?;
        Ok(Self {
            pointer: Local(descriptor),
        })
    }

    /// For a call that makes an object; it must not outlive `self`.
    pub fn attributes(&self) -> SECURITY_ATTRIBUTES {
        SECURITY_ATTRIBUTES {
            nLength: size_of::<SECURITY_ATTRIBUTES>() as u32,
            lpSecurityDescriptor: self.pointer.0,
            bInheritHandle: 0,
        }
    }
}

/// For calls that return zero on failure.
pub fn check(result: i32) -> io::Result<()> {
    match result {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Text as the system's calls take it: UTF-16 with a zero at the end.
pub fn wide(text: impl AsRef<OsStr>) -> Vec<u16> {
    text.as_ref().encode_wide().chain([0]).collect()
}
