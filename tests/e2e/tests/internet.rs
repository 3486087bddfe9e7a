//! The simulated internet itself: what the other tests stand on.

use osier_e2e::{
    internet::Internet,
    prober::{End, Prober},
};
use osier_lab::{Lab, wait_until};
use std::time::Duration;

#[test]
fn hosts_reach_each_other_until_they_are_cut() -> osier_lab::Result<()> {
    Lab::run("hosts", |lab| {
        let internet = Internet::new(lab)?;
        let (a, b) = (internet.host("a")?, internet.host("b")?);
        let there = b.public.to_string();
        anyhow::ensure!(a.netns.ping(&there));
        let cut = internet.cut(&a, &b)?;
        anyhow::ensure!(!a.netns.ping(&there));
        drop(cut);
        anyhow::ensure!(a.netns.ping(&there));
        internet.swallow(&b)?;
        anyhow::ensure!(!a.netns.ping(&there));
        internet.release()?;
        anyhow::ensure!(a.netns.ping(&there));
        anyhow::Ok(())
    })
}

#[test]
fn home_reaches_out_and_nothing_reaches_in() -> osier_lab::Result<()> {
    Lab::run("home", |lab| {
        let internet = Internet::new(lab)?;
        let (home, out) = (internet.home("home")?, internet.host("out")?);
        anyhow::ensure!(home.netns.ping(&out.public.to_string()));
        out.netns.run("ip route add 192.168.77.0/24 via 11.0.2.1")?;
        anyhow::ensure!(!out.netns.ping("192.168.77.2"));
        anyhow::Ok(())
    })
}

#[test]
fn prober_sees_an_outage_from_inside_two_namespaces() -> osier_lab::Result<()> {
    Lab::run("prober", |lab| {
        let (a, b) = (lab.netns("a")?, lab.netns("b")?);
        let wire = lab.wire((&a, "eth0"), (&b, "eth0"))?;
        a.address("eth0", "fd00::1/64")?;
        b.address("eth0", "fd00::2/64")?;
        let end = |ns: &osier_lab::Netns, address: &str| {
            anyhow::Ok(End {
                name: address.into(),
                netns: ns.path().to_owned(),
                address: address.parse()?,
            })
        };
        let prober = Prober::start(vec![end(&a, "fd00::1")?, end(&b, "fd00::2")?])?;
        let pair = (0, 1);
        prober.watch(vec![pair], Duration::from_millis(20))?;
        let answers = || prober.report().is_ok_and(|r| r.answering_since(pair).is_some());
        wait_until(Duration::from_secs(5), "answers", answers)?;
        let from = prober.now();
        wire.cut()?;
        wait_until(Duration::from_secs(5), "silence", || !answers())?;
        wire.mend()?;
        wait_until(Duration::from_secs(5), "the outage is over and on record", || {
            let outage = prober
                .report()
                .map(|r| r.outage(pair, from, prober.now()))
                .unwrap_or_default();
            outage.lost > 0 && outage.duration.is_some_and(|d| d > Duration::from_millis(50))
        })?;
        anyhow::Ok(())
    })
}
