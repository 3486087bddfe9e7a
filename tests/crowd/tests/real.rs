//! A real node, real sockets: many peers at once, and again after a restart beside junk.

use anyhow::{Result, ensure};
use osier_crowd::{
    stage::Stage,
    swarm::{Arrived, Swarm},
    traffic::{Flood, Machine},
};
use osier_lab::{Lab, wait_until};
use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

const PEERS: u16 = 300;
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn many_peers_come_at_once_exchange_data_and_come_again_after_a_restart_beside_junk() -> osier_lab::Result<()>
{
    Lab::run("crowd", |lab| -> Result<()> {
        let mut stage = Stage::new(lab, PEERS)?;
        let arrived = Arc::new(Arrived::default());
        let swarm = Swarm::start(&stage, &arrived)?;
        stage.up()?;
        swarm.dial(0..PEERS.into())?;
        swarm.wait_open(PEERS.into(), LIMIT)?;
        let machine = Machine::start(&stage, &arrived)?;
        let grows = |counter: fn(&Arrived) -> u64| {
            let target = counter(&arrived) + 5000;
            wait_until(LIMIT, "data arrives", || counter(&arrived) >= target)
        };
        machine.send(PEERS.into());
        grows(|a| a.at_peers.load(Relaxed))?;
        machine.send(0);
        swarm.send(PEERS.into())?;
        grows(|a| a.at_node.load(Relaxed))?;
        swarm.send(0)?;
        // Those it does not know would have to compete with the junk for a few places.
        wait_until(LIMIT, "the node has saved its members", || {
            stage.remembered() >= PEERS.into()
        })?;
        stage.kill();
        stage.up()?;
        let flood = Flood::start(&stage, 3000)?;
        // Until cookies are demanded.
        wait_until(LIMIT, "junk arrives", || {
            stage.counter("handshake-cookies-sent").is_ok_and(|n| n > 0)
        })?;
        swarm.dial(0..PEERS.into())?;
        let report = swarm.wait_open(PEERS.into(), LIMIT)?;
        drop(flood);
        ensure!(report.cookies > 0, "no member was asked for a cookie");
        ensure!(
            stage.counter("drop-handshake-forged")? > 0,
            "nothing forged was dropped"
        );
        ensure!(
            stage.counter("drop-control-overflow")? == 0,
            "control was crowded out"
        );
        ensure!(stage.status()?["neighbours"] == u64::from(PEERS));
        Ok(())
    })
}
