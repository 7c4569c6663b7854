//! `flowmeter generate`

use std::{fs::File, io::BufWriter, path::Path, time::Duration};

use anyhow::{Context as _, Result, bail};
use humantime::format_duration;

use crate::{
    capture::replay::Replay,
    cli::{Form, Generate},
    config::{Config, Flows},
    emit::{Closed, FileAccount},
    error::Failure,
    generate::{
        self,
        conversation::Conversation,
        packets::Packets,
        pcap,
        send::{self, Sender},
        site::Site,
        source::{self, GeneratedSource},
    },
    pipeline::{InterfaceNames, Pipeline},
};

pub(super) fn run(arguments: &Generate) -> Result<()> {
    let config = super::load(&arguments.sources())?.config;
    let site = Site::new(&config.networks.internal, arguments.ipv6).map_err(Failure::Configuration)?;
    let scenarios = generate::scenarios(&arguments.scenario);
    let conversations = generate::conversations(&scenarios, &site, arguments.count);
    // First, so that nothing is written if it is refused.
    let sender = match &arguments.send {
        Some(interface) => {
            send::check(&conversations)?;
            Some(Sender::open(interface)?)
        }
        None => None,
    };
    if let Some(path) = &arguments.pcap {
        write_capture(path, &conversations, arguments.start)?;
    }
    if arguments.events().is_some() {
        write_events(config, &conversations, arguments)?;
    }
    if let Some(sender) = sender {
        send(&sender, conversations, arguments)?;
    }
    Ok(())
}

fn write_capture(path: &Path, conversations: &[Conversation], start: Duration) -> Result<()> {
    let shown = path.display();
    let file = File::create(path).with_context(|| format!("cannot create capture {shown}"))?;
    let packets = Packets::new(conversations.to_vec());
    pcap::write(packets, start, &mut BufWriter::new(file)).with_context(|| format!("writing capture {shown}"))
}

/// The same way that packets of a capture go.
fn write_events(mut config: Config, conversations: &[Conversation], arguments: &Generate) -> Result<()> {
    // Whatever the agent's file is like, rotating it is the agent's.
    config.output.rotate_bytes = u64::MAX;
    config.output.rotate_age = Duration::MAX;
    // Every packet is counted.
    config.capture.sampling = 1;
    // There is nothing before it to learn from.
    config.detect.learning = Duration::ZERO;
    // What is made up is written in full.
    config.output.flows = Flows::All;
    let mut pipeline = Pipeline::new(&config)?;
    pipeline.mark_synthetic();
    if arguments.form != Some(Form::Events) {
        pipeline.without_findings();
    }
    let source = GeneratedSource::new(Packets::new(conversations.to_vec()), arguments.start);
    let mut replay = Replay::new(
        vec![Box::new(source)],
        config.capture.interval,
        config.capture.tunnels,
    );
    match metered(&mut replay, pipeline) {
        // A reader such as `head` wants no more: that is no failure.
        Err(error) if error.is::<Closed>() => Ok(()),
        Err(error) => Err(error),
        Ok(account) if account.withheld_lines > 0 => {
            bail!("{} events could not be written", account.withheld_lines)
        }
        Ok(_) => Ok(()),
    }
}

fn metered(replay: &mut Replay, mut pipeline: Pipeline) -> Result<FileAccount> {
    let names = InterfaceNames::from([(1, source::INTERFACE.to_owned())]);
    let mut last = 0..0;
    let mut next = replay.next_interval();
    while let Some(mut interval) = next {
        pipeline.take(&mut interval.batch);
        last = interval.start_ns..interval.end_ns;
        next = replay.next_interval();
        if next.is_some() {
            pipeline.close_interval(last.clone(), &names)?;
        }
    }
    let (account, _) = pipeline.finish(last, &names)?;
    Ok(account)
}

fn send(sender: &Sender, conversations: Vec<Conversation>, arguments: &Generate) -> Result<()> {
    let extent = generate::extent(&conversations);
    let lasting = Duration::try_from_secs_f64(extent.lasting.as_secs_f64() / arguments.speed);
    let lasting = match lasting {
        Ok(lasting) => Duration::from_millis(u64::try_from(lasting.as_millis()).unwrap_or(u64::MAX)),
        Err(_) => bail!("--speed {}: sending would never end", arguments.speed),
    };
    log::info!(
        "sending {} on {}: {} packets, {} bytes, within {}; all addresses are private or documentation ones",
        arguments.scenario,
        sender.interface(),
        extent.packets,
        extent.wire_bytes,
        format_duration(lasting)
    );
    let sent = sender.send(conversations, arguments.speed)?;
    log::info!("sent {} packets, {} bytes", sent.packets, sent.wire_bytes);
    if sent.full_queue > 0 {
        log::info!(
            "the queue of {} was full {} times; each frame was offered again until it was taken",
            sender.interface(),
            sent.full_queue
        );
    }
    Ok(())
}
