//! What `core/node` tests through the modules that are not here.

use crate::system::{Group, SocketWatch, Wake, allow_fragments, files, wait, wait_writable};
use std::{fs, net::UdpSocket, time::Duration};

#[test]
fn directory_has_one_owner_at_a_time() {
    let dir = std::env::temp_dir().join(format!("osier-windows-{}", std::process::id()));
    let deep = dir.join("deep");
    files::make_private_dir(&deep).unwrap();
    // One that is there stays.
    files::make_private_dir(&deep).unwrap();
    let mut first = files::DirLock::acquire(&deep).unwrap().unwrap();
    assert!(files::DirLock::acquire(&deep).unwrap().is_none());
    let pid = fs::read_to_string(deep.join("lock")).unwrap();
    assert_eq!(pid.trim(), std::process::id().to_string());
    first.release(&deep);
    assert!(!deep.join("lock").exists());
    let mut second = files::DirLock::acquire(&deep).unwrap().unwrap();
    second.release(&deep);
    fs::remove_dir_all(&dir).unwrap();
}

/// As a packet thread reads: all that there is, then sleep until there is more.
#[test]
fn no_datagram_is_slept_over() {
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver.set_nonblocking(true).unwrap();
    let watch = SocketWatch::new(&receiver).unwrap();
    allow_fragments(&receiver, false);
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    let stop = Wake::new().unwrap();
    for _ in 0..20 {
        for _ in 0..3 {
            sender.send_to(b"x", receiver.local_addr().unwrap()).unwrap();
        }
        let mut received = 0;
        let mut emptied = false;
        while received < 3 {
            assert!(wait(watch.readable(&receiver), &stop, emptied));
            // Not always to the end.
            emptied = receiver.recv_from(&mut [0; 10]).is_err();
            received += usize::from(!emptied);
        }
    }
    wait_writable(&sender, Duration::from_secs(10)).unwrap();
    stop.wake();
    assert!(!wait(watch.readable(&receiver), &stop, true));
}

#[test]
fn groups_are_found_by_name_and_sid() {
    let by_sid = Group::find("S-1-5-32-544").unwrap();
    assert!(by_sid.is_some());
    assert_eq!(Group::find("Administrators").unwrap(), by_sid);
}
