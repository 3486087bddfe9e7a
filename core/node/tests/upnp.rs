//! The port mapper against a real UPnP daemon.

mod common;

use common::{SOON, expect, runtime, text};
use osier_core::mapping::{Mapper, MappingConfig};
use osier_lab::{Error, HOME_HOST, HomeRouter, Lab, Netns, wait_until};
use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::sync::watch;

struct Home {
    host: Netns,
    router: HomeRouter,
}

impl Home {
    fn new(lab: &Lab) -> osier_lab::Result<Self> {
        let (host, router, outside) = (lab.netns("host")?, lab.netns("router")?, lab.netns("outside")?);
        lab.veth((&router, "wan0"), (&outside, "eth0"))?;
        router.address("wan0", "11.0.1.2/24")?;
        outside.address("eth0", "11.0.1.1/24")?;
        router.run("ip route add default via 11.0.1.1")?;
        // Two hosts of the home are played by one, so it asks for another's port too.
        let router = HomeRouter::new(lab, router, &host, false)?;
        Ok(Self { host, router })
    }

    fn mapped(&self, port: u16) -> bool {
        let rules = self.router.mappings().unwrap_or_default();
        rules
            .lines()
            .any(|l| l.contains(HOME_HOST) && l.contains(&port.to_string()))
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
                let own: Vec<IpAddr> = vec![HOME_HOST.parse().map_err(text)?];
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
                let own: Vec<IpAddr> = vec![HOME_HOST.parse().map_err(text)?];
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
        let second = map(HOME_HOST)?.ok_or(Error::new("the second gets a mapping"))?;
        expect(first.port() == port, "the first gets the port it wants")?;
        expect(second.port() != port, "the second gets another")
    })
}
