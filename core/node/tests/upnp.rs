//! The port mapper against a real UPnP daemon.

mod common;

use common::{SOON, runtime};
use osier_core::mapping::{Mapper, MappingConfig};
use osier_lab::{Error, Lab, Netns, Process, wait_until};
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::sync::watch;

/// See miniupnpd.conf(5).
const UPNP: &str = "\
ext_ifname=wan0
listening_ip=lan0
enable_natpmp=no
enable_upnp=yes
secure_mode=no
uuid=6f736965-7200-4000-8000-000000000001
upnp_table_name=filter
upnp_nat_table_name=filter
upnp_forward_chain=miniupnpd
upnp_nat_chain=prerouting_miniupnpd
upnp_nat_postrouting_chain=postrouting_miniupnpd
allow 1024-65535 192.168.77.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
";

/// The chains that miniupnpd puts its rules into.
const RULES: &str = r#"
nft -f - <<'RULES'
table inet filter {
  chain forward { type filter hook forward priority 0; jump miniupnpd; }
  chain miniupnpd { }
  chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
  chain prerouting_miniupnpd { }
  chain postrouting { type nat hook postrouting priority 100; jump postrouting_miniupnpd; }
  chain postrouting_miniupnpd { }
}
RULES
"#;

struct Home {
    host: Netns,
    router: Netns,
    _upnp: Process,
}

impl Home {
    fn new(lab: &Lab) -> osier_lab::Result<Self> {
        let (host, router, outside) = (lab.netns("host")?, lab.netns("router")?, lab.netns("outside")?);
        lab.veth((&host, "eth0"), (&router, "lan0"))?;
        lab.veth((&router, "wan0"), (&outside, "eth0"))?;
        host.address("eth0", "192.168.77.2/24")?;
        router.address("lan0", "192.168.77.1/24")?;
        router.address("wan0", "11.0.1.2/24")?;
        outside.address("eth0", "11.0.1.1/24")?;
        host.run("ip route add default via 192.168.77.1")?;
        router.run("ip route add default via 11.0.1.1")?;
        router.forwarding()?;
        router.shell(RULES)?;
        let settings = lab.directory().join("miniupnpd.conf");
        std::fs::write(&settings, UPNP).map_err(text)?;
        let mut command = router.command(osier_lab::tool("miniupnpd", "miniupnpd")?);
        command
            .arg("-d")
            .arg("-f")
            .arg(&settings)
            .arg("-P")
            .arg(lab.directory().join("miniupnpd.pid"));
        let upnp = router.spawn("miniupnpd", command)?;
        Ok(Self {
            host,
            router,
            _upnp: upnp,
        })
    }

    fn mapped(&self, port: u16) -> bool {
        let rules = self.router.run("nft list ruleset").unwrap_or_default();
        rules
            .lines()
            .any(|l| l.contains("192.168.77.2") && l.contains(&port.to_string()))
    }
}

/// Runs `work` on a thread that lives in the host's namespace.
fn inside<T: Send>(netns: &Netns, work: impl FnOnce() -> T + Send) -> osier_lab::Result<T> {
    let file = std::fs::File::open(netns.path()).map_err(text)?;
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // SAFETY: changes the network namespace of this thread only, which then ends.
            let entered = unsafe { libc::setns(std::os::fd::AsRawFd::as_raw_fd(&file), libc::CLONE_NEWNET) };
            (entered == 0).then(work)
        });
        thread
            .join()
            .ok()
            .flatten()
            .ok_or(Error::new("cannot enter the namespace"))
    })
}

#[test]
fn mapping_appears_is_renewed_and_is_removed_at_the_end() -> osier_lab::Result<()> {
    Lab::run("upnp", |lab| {
        let home = Home::new(lab)?;
        let port = 16697;
        inside(&home.host, || {
            runtime().block_on(async {
                let own: Vec<IpAddr> = vec!["192.168.77.2".parse().map_err(text)?];
                let (addresses, watched) = watch::channel(own);
                let lease = Duration::from_secs(4);
                let mapper = Mapper::start(MappingConfig { port, lease }, watched.clone());
                let mut mapped = mapper.mapped();
                // The daemon may still be starting: a change of addresses makes the mapper look again.
                let expected: SocketAddr = "11.0.1.2:16697".parse().map_err(text)?;
                for _ in 0..10 {
                    let wait = mapped.wait_for(|m| *m == Some(expected));
                    if tokio::time::timeout(Duration::from_secs(4), wait).await.is_ok() {
                        break;
                    }
                    addresses.send_modify(|_| {});
                }
                expect(*mapped.borrow() == Some(expected), "the mapping is reported")?;
                expect(home.mapped(port), "the router has it")?;
                // Well over the lease: only renewals keep it.
                for _ in 0..40 {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                    expect(home.mapped(port), "the mapping is renewed in time")?;
                }
                mapper.stop().await;
                expect(!home.mapped(port), "the mapping is removed at the end")?;
                Ok::<_, Error>(())
            })
        })?
    })
}

#[test]
fn address_that_goes_takes_its_mapping_along() -> osier_lab::Result<()> {
    Lab::run("upnpgone", |lab| {
        let home = Home::new(lab)?;
        let port = 4321;
        inside(&home.host, || {
            runtime().block_on(async {
                let own: Vec<IpAddr> = vec!["192.168.77.2".parse().map_err(text)?];
                let (addresses, watched) = watch::channel(own);
                let mapper = Mapper::start(MappingConfig::new(port), watched.clone());
                let mut mapped = mapper.mapped();
                for _ in 0..10 {
                    if tokio::time::timeout(Duration::from_secs(4), mapped.wait_for(Option::is_some))
                        .await
                        .is_ok()
                    {
                        break;
                    }
                    addresses.send_modify(|_| {});
                }
                expect(home.mapped(port), "the router has the mapping")?;
                // A public address needs none.
                addresses.send_replace(vec!["11.0.9.9".parse().map_err(text)?]);
                let gone = tokio::time::timeout(SOON, mapped.wait_for(Option::is_none)).await;
                expect(gone.is_ok(), "the loss is reported")?;
                wait_until(SOON, "the router has dropped it", || !home.mapped(port)).map(drop)
            })
        })?
    })
}

#[test]
fn taken_outer_port_gives_way_to_another() -> osier_lab::Result<()> {
    Lab::run("upnptaken", |lab| {
        let home = Home::new(lab)?;
        let port = 5555;
        // Another host of the home has the same port already.
        home.host.run("ip address add 192.168.77.3/24 dev eth0")?;
        let map = |address: &'static str| {
            let home = &home;
            inside(&home.host, move || {
                runtime().block_on(async {
                    let own: Vec<IpAddr> = vec![address.parse().map_err(text)?];
                    let (addresses, watched) = watch::channel(own);
                    let mapper = Mapper::start(MappingConfig::new(port), watched.clone());
                    let mut mapped = mapper.mapped();
                    for _ in 0..10 {
                        let wait = mapped.wait_for(Option::is_some);
                        if tokio::time::timeout(Duration::from_secs(4), wait).await.is_ok() {
                            break;
                        }
                        addresses.send_modify(|_| {});
                    }
                    // Left behind on purpose, as after a crash.
                    let external = *mapped.borrow();
                    Ok::<_, Error>(external)
                })
            })?
        };
        let first = map("192.168.77.3")?.ok_or(Error::new("the first gets a mapping"))?;
        let second = map("192.168.77.2")?.ok_or(Error::new("the second gets a mapping"))?;
        expect(first.port() == port, "the first gets the port it wants")?;
        expect(second.port() != port, "the second gets another")
    })
}

fn expect(condition: bool, what: &str) -> osier_lab::Result<()> {
    if condition {
        Ok(())
    } else {
        Err(Error::new(format!("not so: {what}")))
    }
}

fn text(error: impl std::fmt::Display) -> Error {
    Error::new(error.to_string())
}
