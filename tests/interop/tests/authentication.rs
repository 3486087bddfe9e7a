//! MAC authentication (RFC 8967) and round-trip times (RFC 9616) beside real babeld and BIRD.
#![allow(clippy::unwrap_used)]

use osier_interop::{Babeld, Bird, Key, Osier, Router, SOON, Settings, in_lab, wire};
use osier_lab::{Error, Result, tool, wait_until};

fn hmac() -> Key {
    Key::HmacSha256("an osier bends and does not snap".into())
}

fn blake() -> Key {
    Key::Blake2s("many thin rods woven tightly".into())
}

fn new() -> Key {
    Key::HmacSha256("the new secret of this basket...".into())
}

fn with(keys: &[Key]) -> Settings {
    Settings {
        keys: keys.to_vec(),
        ..Settings::default()
    }
}

fn counter(osier: &Osier, name: &str) -> u64 {
    let report = osier.dump();
    report.map_or(0, |report| report.counters.get(name).copied().unwrap_or_default())
}

fn reach_each_other(a: &Router, b: &Router) -> Result<()> {
    let what = format!("{} and {} reach each other", a.name(), b.name());
    wait_until(SOON, &what, || a.reaches(b) && b.reaches(a)).map(drop)
}

/// babeld, Osier and BIRD in a line, all with the same key.
fn a_line_with(name: &str, key: Key) -> Result<()> {
    in_lab(name, |lab| {
        let [a, b, c] = [
            Router::new(lab, "a", 1)?,
            Router::new(lab, "b", 2)?,
            Router::new(lab, "c", 3)?,
        ];
        let _wires = (wire(lab, &a, &b)?, wire(lab, &b, &c)?);
        let settings = with(&[key]);
        let _babeld = Babeld::configured(&a, &[&b], &settings)?;
        let osier = Osier::configured(&b, &[&a, &c], &settings)?;
        let _bird = Bird::configured(&c, &[&b], &settings)?;
        reach_each_other(&a, &c)?;
        assert_eq!(counter(&osier, "mac_failed"), 0);
        assert_eq!(counter(&osier, "mac_missing"), 0);
        assert!(
            counter(&osier, "challenges_sent") >= 2,
            "each neighbour was challenged"
        );
        Ok(())
    })
}

#[test]
fn hmac_sha256_is_understood_by_babeld_and_bird() -> Result<()> {
    a_line_with("mac-hmac", hmac())
}

#[test]
fn blake2s_is_understood_by_babeld_and_bird() -> Result<()> {
    a_line_with("mac-blake", blake())
}

/// A babeld with another key and a BIRD without one are as if they were not there.
#[test]
fn who_lacks_the_key_is_not_heard() -> Result<()> {
    in_lab("mac-foreign", |lab| {
        let [a, b, c] = [
            Router::new(lab, "a", 1)?,
            Router::new(lab, "b", 2)?,
            Router::new(lab, "c", 3)?,
        ];
        let _wires = (wire(lab, &a, &b)?, wire(lab, &b, &c)?);
        let osier = Osier::configured(&b, &[&a, &c], &with(&[hmac()]))?;
        let _babeld = Babeld::configured(&a, &[&b], &with(&[new()]))?;
        let _bird = Bird::start(&c, &[&b])?;
        wait_until(SOON, "many packets of both were refused", || {
            counter(&osier, "mac_failed") >= 10 && counter(&osier, "mac_missing") >= 10
        })?;
        let report = osier.dump()?;
        assert!(
            report.neighbours.is_empty() && report.routes.is_empty(),
            "{report:?}"
        );
        assert!(!b.forwards_to(&a) && !b.forwards_to(&c));
        Ok(())
    })
}

/// While keys are handed out: Osier signs already and babeld does not yet.
#[test]
fn signing_only_lets_in_who_has_no_key_yet() -> Result<()> {
    in_lab("mac-sign", |lab| {
        let [a, b] = [Router::new(lab, "a", 1)?, Router::new(lab, "b", 2)?];
        let _wire = wire(lab, &a, &b)?;
        let _osier = Osier::start_with(&a, &[&b], &["--mac", &hmac().spec(), "--mac-sign-only"])?;
        let _babeld = Babeld::start(&b, &[&a])?;
        reach_each_other(&a, &b)
    })
}

/// Two Osier and a BIRD go from one key to another: no route changes anywhere and no ping is lost.
#[test]
fn keys_are_rotated_without_losing_a_route() -> Result<()> {
    in_lab("mac-rotation", |lab| {
        let [a, b, c] = [
            Router::new(lab, "a", 1)?,
            Router::new(lab, "b", 2)?,
            Router::new(lab, "c", 3)?,
        ];
        let _wires = (wire(lab, &a, &b)?, wire(lab, &b, &c)?);
        let file = |router: &Router| router.netns.directory().join(format!("{}.keys", router.name()));
        let write = |router: &Router, keys: &[Key]| {
            let text: String = keys.iter().map(|key| key.spec() + "\n").collect();
            std::fs::write(file(router), text).map_err(|e| Error::new(e.to_string()))
        };
        let start = |router: &Router, neighbours: &[&Router]| {
            write(router, &[hmac()])?;
            let option = format!("@{}", file(router).display());
            Osier::start_with(router, neighbours, &["--mac", &option])
        };
        let mut first = start(&a, &[&b])?;
        let mut second = start(&b, &[&a, &c])?;
        let mut stock = Bird::configured(&c, &[&b], &with(&[hmac()]))?;
        reach_each_other(&a, &c)?;

        let mut ping = a.netns.command("ping");
        ping.args(["-n", "-i", "0.1", "-I", &a.v6(), &c.v6()]);
        let mut ping = a.netns.spawn("ping", ping)?;
        let changes = |first: &Osier, second: &Osier| {
            (counter(first, "route_changes"), counter(second, "route_changes"))
        };
        let before = changes(&first, &second);
        for keys in [&[hmac(), new()][..], &[new()]] {
            for (router, osier) in [(&a, &mut first), (&b, &mut second)] {
                write(router, keys)?;
                osier.process.signal(1)?;
                wait_until(SOON, "the keys were read again", || {
                    osier.process.log().matches("MAC keys were read again").count() >= 3 - keys.len()
                })?;
            }
            Bird::reconfigure(&c, &[&b], &with(keys))?;
            let heard = |osier: &Osier| counter(osier, "packets_received");
            let now = (heard(&first), heard(&second));
            wait_until(SOON, "packets with these keys passed", || {
                heard(&first) > now.0 + 5 && heard(&second) > now.1 + 10
            })?;
        }
        assert!(a.reaches(&c) && c.reaches(&a));
        assert_eq!(changes(&first, &second), before, "no route moved");
        for osier in [&first, &second] {
            assert_eq!(counter(osier, "mac_failed"), 0);
        }
        ping.signal(2)?;
        ping.wait(SOON)?;
        let summary = ping.log();
        assert!(summary.contains(" 0% packet loss"), "{summary}");

        // Only the new key is in force.
        stock.process.terminate(SOON)?;
        let _stale = Bird::configured(&c, &[&b], &with(&[hmac()]))?;
        wait_until(SOON, "the old key is refused", || {
            counter(&second, "mac_failed") > 5
        })
        .map(drop)
    })
}

/// Passes frames between the switch's two ports, each after a while. There is no netem everywhere.
const DELAYER: &str = r#"
import heapq, select, socket, sys, time
delay = float(sys.argv[1])
ports = [socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) for _ in range(2)]
for port, name in zip(ports, "ab"):
    port.bind((name, 3))
waiting, count = [], 0
while True:
    now = time.monotonic()
    while waiting and waiting[0][0] <= now:
        _, _, port, frame = heapq.heappop(waiting)
        port.send(frame)
    timeout = waiting[0][0] - now if waiting else None
    for port in select.select(ports, [], [], timeout)[0]:
        frame, address = port.recvfrom(65535)
        if address[2] != socket.PACKET_OUTGOING:
            count += 1
            other = ports[1] if port is ports[0] else ports[0]
            heapq.heappush(waiting, (time.monotonic() + delay, count, other, frame))
"#;
/// Makes the kernel finish checksums itself, as nobody does it for frames that Python carries (ETHTOOL_STXCSUM).
const CHECKSUMS: &str = r#"
import array, fcntl, socket, struct, sys
value = array.array("B", struct.pack("II", 0x17, 0))
request = struct.pack("16sP16x", sys.argv[1].encode(), value.buffer_info()[0])
fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8946, request)
"#;

/// A slow direct wire and a fast way round: Osier and babeld both go round, by each other's timestamps.
#[test]
fn a_fast_detour_is_preferred_to_a_slow_link() -> Result<()> {
    in_lab("rtt", |lab| {
        let python = tool("python3", "python3")?;
        let [a, b, c] = [
            Router::new(lab, "a", 1)?,
            Router::new(lab, "b", 2)?,
            Router::new(lab, "c", 3)?,
        ];
        let _fast = (wire(lab, &a, &b)?, wire(lab, &b, &c)?);
        let slow = wire(lab, &a, &c)?;
        for (router, interface) in [(&a, "to-c"), (&c, "to-a")] {
            let mut command = router.netns.command(&python);
            command.args(["-c", CHECKSUMS, interface]);
            router.netns.spawn("checksums", command)?.wait(SOON)?;
        }
        slow.cut()?;
        let mut delayer = slow.switch().command(&python);
        delayer.args(["-c", DELAYER, "0.2"]);
        let _delayer = slow.switch().spawn("delayer", delayer)?;

        let rtt = ["--rtt", "to-a", "--rtt", "to-b", "--rtt", "to-c"];
        let first = Osier::start_with(&a, &[&b, &c], &[&rtt[2..]].concat())?;
        let _middle = Osier::start_with(&b, &[&a, &c], &[&rtt[..2], &rtt[4..]].concat())?;
        let settings = Settings {
            rtt: true,
            ..Settings::default()
        };
        let babeld = Babeld::configured(&c, &[&a, &b], &settings)?;
        let neighbour = |dev: &str| {
            let neighbours = first.dump().map(|report| report.neighbours).unwrap_or_default();
            neighbours.into_iter().find(|n| n.dev == dev)
        };
        wait_until(SOON, "Osier uses the slow link and knows that it is slow", || {
            neighbour("to-c").is_some_and(|n| n.cost == 246 && n.rtt_ms.is_some_and(|ms| ms >= 400.0))
        })?;
        wait_until(SOON, "babeld does so too", || {
            let log = babeld.process.log();
            let slow = |line: &str| {
                line.contains(" dev to-a ")
                    && line.contains("rxcost 96 txcost 96")
                    && line.contains("rttcost 150")
            };
            log.lines().any(slow)
        })?;
        wait_until(SOON, "both go round", || {
            a.goes_over(&c, &b) && c.goes_over(&a, &b)
        })?;
        let fast = neighbour("to-b").and_then(|n| n.rtt_ms);
        assert!(fast.is_some_and(|ms| ms < 400.0), "{fast:?}");
        Ok(())
    })
}
