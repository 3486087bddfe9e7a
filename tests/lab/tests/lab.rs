//! The lab itself: whether what it promises to other tests holds.
#![allow(clippy::unwrap_used)]

use osier_lab::{Lab, Netns, Result, wait_until};
use std::time::{Duration, Instant};

const SECONDS: Duration = Duration::from_secs(5);

fn pair(lab: &Lab) -> Result<(Netns, Netns)> {
    Ok((lab.netns("a")?, lab.netns("b")?))
}

#[test]
fn namespaces_joined_by_a_pair_reach_each_other() -> Result<()> {
    osier_lab::enter();
    let lab = Lab::new("pair")?;
    let (a, b) = pair(&lab)?;
    lab.veth((&a, "eth0"), (&b, "eth0"))?;
    a.address("eth0", "10.0.0.1/24")?;
    b.address("eth0", "10.0.0.2/24")?;
    wait_until(SECONDS, "a reaches b by IPv4", || a.ping("10.0.0.2"))?;
    let link_local = format!("{}%eth0", b.link_local("eth0")?);
    wait_until(SECONDS, "a reaches b by its link-local address", || {
        a.ping(&link_local)
    })
    .map(drop)
}

#[test]
fn a_cut_wire_keeps_its_carrier_and_passes_nothing() -> Result<()> {
    osier_lab::enter();
    let lab = Lab::new("wire")?;
    let (a, b) = pair(&lab)?;
    let wire = lab.wire((&a, "eth0"), (&b, "eth0"))?;
    a.address("eth0", "fd00::1/64")?;
    b.address("eth0", "fd00::2/64")?;
    wait_until(SECONDS, "a reaches b", || a.ping("fd00::2"))?;
    wire.cut()?;
    assert!(!a.ping("fd00::2"));
    assert!(a.run("ip link show dev eth0")?.contains("LOWER_UP"));
    assert!(b.run("ip link show dev eth0")?.contains("LOWER_UP"));
    wire.mend()?;
    wait_until(SECONDS, "a reaches b again", || a.ping("fd00::2")).map(drop)
}

#[test]
fn a_socket_opened_within_a_namespace_stays_there() -> Result<()> {
    osier_lab::enter();
    let lab = Lab::new("within")?;
    let (a, b) = pair(&lab)?;
    a.address("lo", "10.1.0.1/32")?;
    let bind = || std::net::UdpSocket::bind("10.1.0.1:0");
    let socket = a.within(bind)?.unwrap();
    assert!(b.within(bind)?.is_err());
    assert!(bind().is_err());
    assert_eq!(socket.local_addr().unwrap().ip().to_string(), "10.1.0.1");
    Ok(())
}

#[test]
fn silence_drops_only_between_its_two_addresses_and_ends_when_dropped() -> Result<()> {
    osier_lab::enter();
    let lab = Lab::new("silence")?;
    let (a, b) = pair(&lab)?;
    lab.veth((&a, "eth0"), (&b, "eth0"))?;
    a.address("eth0", "10.0.0.1/24")?;
    b.address("eth0", "10.0.0.2/24")?;
    b.address("eth0", "10.0.0.3/24")?;
    wait_until(SECONDS, "a reaches b", || {
        a.ping("10.0.0.2") && a.ping("10.0.0.3")
    })?;
    let silence = b.silence("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap())?;
    assert!(!a.ping("10.0.0.2"));
    assert!(a.ping("10.0.0.3"));
    drop(silence);
    wait_until(SECONDS, "a reaches b again", || a.ping("10.0.0.2")).map(drop)
}

#[test]
fn a_process_ends_on_a_signal_and_when_it_is_dropped() -> Result<()> {
    osier_lab::enter();
    let lab = Lab::new("process")?;
    let a = lab.netns("a")?;
    let sleep = || {
        let mut command = a.command("sh");
        command.args([
            "-c",
            "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.05; done",
        ]);
        command
    };
    let mut process = a.spawn("sleeper", sleep())?;
    wait_until(SECONDS, "it is ready", || process.log().contains("ready"))?;
    assert_eq!(process.terminate(SECONDS)?.code(), Some(7));
    assert!(process.log().contains("bye"));

    let process = a.spawn("sleeper", sleep())?;
    let directory = std::path::PathBuf::from(format!("/proc/{}", process.id()));
    assert!(directory.exists());
    drop(process);
    assert!(!directory.exists());
    Ok(())
}

#[test]
fn a_condition_that_never_holds_fails_in_time_and_says_what_it_was() {
    let start = Instant::now();
    let error = wait_until(Duration::from_millis(100), "pigs fly", || false).unwrap_err();
    assert!(error.to_string().contains("pigs fly"));
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_failed_test_shows_what_its_processes_wrote() {
    let error = Lab::run("logs", |lab| {
        let a = lab.netns("a")?;
        let mut command = a.command("echo");
        command.arg("the reason");
        a.spawn("talker", command)?.wait(SECONDS)?;
        Err(osier_lab::Error::new("failed"))
    })
    .unwrap_err()
    .to_string();
    assert!(
        error.starts_with("failed") && error.contains("the reason"),
        "{error}"
    );
}

#[test]
fn a_missing_tool_is_reported_with_its_package() {
    let error = osier_lab::tool("no-such-program", "no-such-package").unwrap_err();
    assert!(error.to_string().contains("apt-get install no-such-package"));
}

#[test]
fn a_lab_outside_is_refused_or_we_are_inside() {
    assert_eq!(osier_lab::inside(), Lab::new("guard").is_ok());
}
