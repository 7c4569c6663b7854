//! The loop: each interval drain, track, enrich, detect, emit. One thread; a tick is plain function calls.

mod manager;
mod meter;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use futures_util::StreamExt as _;
use rtnetlink::MulticastGroup;
use tokio::{
    io::unix::AsyncFd,
    signal::unix::{SignalKind, signal},
    time::{Instant, MissedTickBehavior, interval_at, sleep_until},
};

use self::{manager::Manager, meter::Meter};
use crate::{
    config::{self, Loaded, Sources},
    flow::Batch,
    pipeline::Pipeline,
};

/// Meters until `duration` is over or a signal ends it. `sources` is what SIGHUP reads again.
///
/// # Errors
/// What was asked for cannot be attached or written; a drain that fails while running.
pub fn run(loaded: Loaded, sources: &Sources, duration: Option<Duration>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(agent(loaded, sources, duration))
}

async fn agent(loaded: Loaded, sources: &Sources, duration: Option<Duration>) -> Result<()> {
    // Before anything is attached: whoever ends the agent while it starts gets what it has counted.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let manager = Manager::of_this_process();
    let mut config = loaded.config;
    let mut pipeline = Pipeline::new(&config)?;
    pipeline.spread();
    if !config.detect.state.as_os_str().is_empty() {
        pipeline.remember(&config.detect.state)?;
    }
    let mut batch = Batch::default();
    let mut interval_start_ns = now_ns();
    let (connection, handle, mut link_events) =
        rtnetlink::new_multicast_connection(&[MulticastGroup::Link]).context("listening for link changes")?;
    tokio::spawn(connection);
    let mut meter = Meter::load(&config.capture)?;
    meter.start(&handle, &config.capture).await?;

    // SAFETY: the ring buffer owns its descriptor and shows the same one as long as it lives.
    let notices = unsafe { AsyncFd::register(meter.notices()?) };
    let mut notices = notices.context("waiting for the kernel programs")?;
    let mut ticker = ticker(config.capture.interval);
    let mut heartbeat = manager.heartbeat().map(self::ticker);
    let started = Instant::now();
    let end = async {
        match duration {
            Some(duration) => sleep_until(started + duration).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    manager.ready(&meter.metered());
    loop {
        let next_lines = pipeline.next_lines();
        let beat = async {
            match &mut heartbeat {
                Some(heartbeat) => heartbeat.tick().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = beat => manager.alive(),
            _ = ticker.tick() => {
                let begun = Instant::now();
                meter.drain(&mut pipeline, &mut batch)?;
                let end_ns = now_ns();
                pipeline.close_interval(interval_start_ns..end_ns, meter.names())?;
                interval_start_ns = end_ns;
                if begun.elapsed() > config.capture.interval {
                    log::warn!(
                        "a tick took {:?}, longer than the interval of {:?}; nothing is lost, but intervals are skipped",
                        begun.elapsed(), config.capture.interval
                    );
                }
            }
            () = sleep_until(next_lines.map_or(started, Instant::from_std)), if next_lines.is_some() => {
                pipeline.pace(std::time::Instant::now(), meter.names())?;
            }
            ready = notices.readable_mut() => {
                let mut guard = ready?;
                while guard.get_inner_mut().next().is_some() {}
                guard.clear_ready();
                meter.drain(&mut pipeline, &mut batch)?;
            }
            Some(_) = link_events.next() => {
                // One change comes as several messages; each look is at all links.
                while let Some(Some(_)) = futures_util::FutureExt::now_or_never(link_events.next()) {}
                if let Err(error) = meter.follow(&handle, &config.capture).await {
                    log::error!("following a change of interfaces: {error:#}");
                }
                manager.ready(&meter.metered());
            }
            _ = hangup.recv() => {
                manager.reloading();
                match config::load(sources) {
                    Ok(new) => {
                        config = reload(&config, new.config, &mut pipeline);
                        ticker = self::ticker(config.capture.interval);
                    }
                    Err(error) => log::error!("reading the configuration again: {error:#}; the old one stays in force"),
                }
                manager.ready(&meter.metered());
            }
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = &mut end => break,
        }
    }
    manager.stopping();
    // Detached first: what is counted after the last drain would be lost.
    meter.detach();
    meter.drain(&mut pipeline, &mut batch)?;
    pipeline.finish(interval_start_ns..now_ns(), meter.names())?;
    Ok(())
}

/// Takes over what can change while running and tells what cannot.
fn reload(old: &config::Config, mut new: config::Config, pipeline: &mut Pipeline) -> config::Config {
    for key in old.restart_needed(&new) {
        log::warn!("{key} has changed, which takes effect at the next start");
    }
    let interval = new.capture.interval;
    new.capture.clone_from(&old.capture);
    new.capture.interval = interval;
    new.output.path.clone_from(&old.output.path);
    new.output.all_flows_path.clone_from(&old.output.all_flows_path);
    new.detect.state.clone_from(&old.detect.state);
    match pipeline.reconfigure(&new) {
        Ok(()) => log::info!("configuration read again"),
        // Checked when it was loaded: a configuration that passed has usable values.
        Err(error) => log::error!("taking over the configuration: {error:#}"),
    }
    new
}

fn ticker(interval: Duration) -> tokio::time::Interval {
    let mut ticker = interval_at(Instant::now() + interval, interval);
    // Ticks never overlap, and none is made up for: the next drain holds all that was counted.
    ticker.set_missed_tick_behavior(MissedTickBehavior::Skip);
    ticker
}

fn now_ns() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX)
}
