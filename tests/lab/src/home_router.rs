//! A home's router: it masquerades, lets nothing in by itself, and forwards ports when asked by UPnP.

use crate::{Error, Lab, Netns, Process, Result, tool};

/// The host's and the router's addresses on the home's own network.
pub const HOST: &str = "192.168.77.2";
const ROUTER: &str = "192.168.77.1";

/// Masquerades what goes out and drops what comes in unasked; miniupnpd adds its rules to the chains it names.
const NAT_RULES: &str = r#"
nft -f - <<'RULES'
table inet filter {
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname "lan0" accept
    jump miniupnpd
  }
  chain miniupnpd { }
  chain prerouting { type nat hook prerouting priority -100; jump prerouting_miniupnpd; }
  chain prerouting_miniupnpd { }
  chain postrouting {
    type nat hook postrouting priority 100;
    jump postrouting_miniupnpd
    oifname "wan0" masquerade
  }
  chain postrouting_miniupnpd { }
}
RULES
"#;

/// See miniupnpd.conf(5).
const UPNP_SETTINGS: &str = "\
ext_ifname=wan0
listening_ip=lan0
enable_natpmp=no
enable_upnp=yes
uuid=6f736965-7200-4000-8000-000000000001
upnp_table_name=filter
upnp_nat_table_name=filter
upnp_forward_chain=miniupnpd
upnp_nat_chain=prerouting_miniupnpd
upnp_nat_postrouting_chain=postrouting_miniupnpd
allow 1024-65535 192.168.77.0/24 1024-65535
deny 0-65535 0.0.0.0/0 0-65535
";

#[derive(Debug)]
pub struct HomeRouter {
    netns: Netns,
    _upnp: Process,
}

impl HomeRouter {
    /// Puts `router` between `host` (which gets [`HOST`] on `eth0` and a default route) and the outside. The
    /// router's `wan0` must be there with a public address: miniupnpd refuses private ones. `secure`: a host may
    /// ask for ports of its own only.
    pub fn new(lab: &Lab, router: Netns, host: &Netns, secure: bool) -> Result<Self> {
        lab.veth((host, "eth0"), (&router, "lan0"))?;
        router.address("lan0", &format!("{ROUTER}/24"))?;
        host.address("eth0", &format!("{HOST}/24"))?;
        host.run(&format!("ip route add default via {ROUTER}"))?;
        router.forwarding()?;
        router.shell(NAT_RULES)?;

        let name = router.name().to_owned();
        let settings = lab.directory().join(format!("{name}-miniupnpd.conf"));
        let secure = if secure { "yes" } else { "no" };
        std::fs::write(&settings, format!("{UPNP_SETTINGS}secure_mode={secure}\n"))
            .map_err(|error| Error::new(format!("cannot write {}: {error}", settings.display())))?;
        let mut command = router.command(tool("miniupnpd", "miniupnpd")?);
        // In the foreground (-d), with this configuration and a pid file in the lab's own directory.
        command.arg("-d").arg("-f").arg(&settings);
        command
            .arg("-P")
            .arg(lab.directory().join(format!("{name}-miniupnpd.pid")));
        let upnp = router.spawn("miniupnpd", command)?;
        Ok(Self {
            netns: router,
            _upnp: upnp,
        })
    }

    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// What it forwards now, as nft prints it.
    pub fn mappings(&self) -> Result<String> {
        self.netns.run("nft list table inet filter")
    }
}
