//! A small internet: one router, hosts with public addresses, homes behind NAT.

use anyhow::{Context, Result};
use osier_lab::{HomeRouter, Lab, Netns, Silence};
use std::{
    cell::Cell,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Every host hangs on the router by a wire of its own, so any two can be cut off from each other.
pub struct Internet<'a> {
    lab: &'a Lab,
    router: Netns,
    used: Cell<u8>,
}

/// A machine and the address that the internet sees it by.
pub struct Host {
    pub netns: Netns,
    pub public: IpAddr,
    /// The router (with its UPnP daemon) that the host is behind.
    nat: Option<HomeRouter>,
}

impl<'a> Internet<'a> {
    pub fn new(lab: &'a Lab) -> Result<Self> {
        let router = lab.netns("internet")?;
        router.forwarding()?;
        Ok(Self {
            lab,
            router,
            used: Cell::new(0),
        })
    }

    pub fn lab(&self) -> &'a Lab {
        self.lab
    }

    /// A host with a public address.
    pub fn host(&self, name: &str) -> Result<Host> {
        let netns = self.lab.netns(name)?;
        let public = self.connect(&netns, "eth0")?;
        Ok(Host {
            netns,
            public,
            nat: None,
        })
    }

    /// A host with a public IPv6 address and no IPv4.
    pub fn host6(&self, name: &str) -> Result<Host> {
        let netns = self.lab.netns(name)?;
        let port = self.wire(&netns, "eth0")?;
        let subnet = self.used.get().into();
        let [ours, theirs] = [1, 2].map(|last| Ipv6Addr::new(0x2a11, 0, 0, subnet, 0, 0, 0, last));
        self.router.address(&port, &format!("{ours}/64"))?;
        netns.address("eth0", &format!("{theirs}/64"))?;
        netns.run(&format!("ip route add default via {ours}"))?;
        let public = theirs.into();
        Ok(Host {
            netns,
            public,
            nat: None,
        })
    }

    /// A host in a home: private address, NAT that lets nothing in by itself, and a UPnP daemon that will make
    /// port mappings when asked.
    pub fn home(&self, name: &str) -> Result<Host> {
        let router = self.lab.netns(&format!("{name}-nat"))?;
        let public = self.connect(&router, "wan0")?;
        let netns = self.lab.netns(name)?;
        let nat = HomeRouter::new(self.lab, router, &netns, true)?;
        Ok(Host {
            netns,
            public,
            nat: Some(nat),
        })
    }

    /// From now on nothing passes between the two, and neither is told, until the result is dropped.
    pub fn cut(&self, a: &Host, b: &Host) -> Result<Silence> {
        Ok(self.router.silence(a.public, b.public)?)
    }

    /// From now on nothing passes to or from the (IPv4) host, and nobody is told.
    pub fn swallow(&self, host: &Host) -> Result<()> {
        let rules = format!(
            "nft add table ip swallow; \
             nft 'add chain ip swallow pre {{ type filter hook prerouting priority -310; }}'; \
             nft add rule ip swallow pre ip saddr {0} drop; nft add rule ip swallow pre ip daddr {0} drop",
            host.public
        );
        self.router.shell(&rules)?;
        Ok(())
    }

    /// From now on no IPv4 packet longer than this passes, and nobody is told. What a host sends in one go counts as one
    /// packet here.
    pub fn swallow_longer(&self, octets: u16) -> Result<()> {
        let rules = format!(
            "nft add table ip longer; \
             nft 'add chain ip longer pre {{ type filter hook prerouting priority -310; }}'; \
             nft add rule ip longer pre ip length gt {octets} drop"
        );
        self.router.shell(&rules)?;
        Ok(())
    }

    /// Ends every [`Internet::swallow`].
    pub fn release(&self) -> Result<()> {
        self.router.shell("nft delete table ip swallow")?;
        Ok(())
    }

    /// A wire from the router to `netns`; the name of the router's end.
    fn wire(&self, netns: &Netns, interface: &str) -> Result<String> {
        let number = self.used.get() + 1;
        self.used.set(number);
        let port = format!("port{number}");
        self.lab.veth((netns, interface), (&self.router, &port))?;
        Ok(port)
    }

    fn connect(&self, netns: &Netns, interface: &str) -> Result<IpAddr> {
        let port = self.wire(netns, interface)?;
        // Public to all programs here (miniupnpd refuses private and documentation addresses), and as closed in
        // as any other: no packet leaves these namespaces.
        let [ours, theirs] = [1, 2].map(|last| Ipv4Addr::new(11, 0, self.used.get(), last));
        self.router.address(&port, &format!("{ours}/24"))?;
        netns.address(interface, &format!("{theirs}/24"))?;
        netns.run(&format!("ip route add default via {ours}"))?;
        Ok(theirs.into())
    }
}

impl Host {
    /// A machine on wires that the caller makes; `public` is how the others reach it.
    pub fn on(netns: Netns, public: IpAddr) -> Self {
        Self {
            netns,
            public,
            nat: None,
        }
    }

    pub fn is_home(&self) -> bool {
        self.nat.is_some()
    }

    /// What the NAT's UPnP daemon forwards now, as nft prints it.
    pub fn mappings(&self) -> Result<String> {
        let nat = self.nat.as_ref().context("the host is not behind a NAT")?;
        Ok(nat.mappings()?)
    }

    /// Octets (received, sent) on the host's line to the internet so far, with all headers. What a home's own
    /// router and UPnP daemon chat about on the local wire is not on it.
    pub fn octets(&self) -> Result<(u64, u64)> {
        let text = match &self.nat {
            Some(nat) => nat.netns().run("ip -j -s link show dev wan0")?,
            None => self.netns.run("ip -j -s link show dev eth0")?,
        };
        let link: serde_json::Value = serde_json::from_str(&text)?;
        let count = |way: &str| {
            link[0]["stats64"][way]["bytes"]
                .as_u64()
                .context("no counters in ip's answer")
        };
        Ok((count("rx")?, count("tx")?))
    }
}
