//! What metering costs a TCP connection, whose packets the kernel handles many at a time.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};

use super::{
    super::{
        generator::pin,
        network::{IN, OUT},
        statistics::Samples,
    },
    GENERATOR_CPU, METER_CPU, Setting,
    meter::{Kind, Meter},
};
use crate::{process::step, signals};

/// Bits a second.
pub(super) type Rates = BTreeMap<Kind, Samples>;

/// RFC 2544's benchmark network.
const METER: &str = "198.18.255.1";
const SENDER: &str = "198.18.255.2";
const PORT: u16 = 5001;
const LASTING: Duration = Duration::from_secs(3);
/// Bytes of a write and of a read.
const CHUNK: usize = 128 << 10;

pub(super) fn measure(setting: &Setting, rates: &mut Rates) -> Result<()> {
    let (meter, sender) = (&setting.cable.meter, &setting.cable.sender);
    // In every repetition, since between them nothing but the generator's packets may pass.
    meter.ip(&format!("address add {METER}/30 dev {IN}"))?;
    sender.ip(&format!("address add {SENDER}/30 dev {OUT}"))?;
    for kind in [Kind::None, Kind::FlowmeterTc, Kind::FlowmeterXdp] {
        signals::check()?;
        let directory = tempfile::tempdir().context("making a directory for the meter's files")?;
        let mut running = Meter::start(kind, &setting.agent, &setting.cable, directory.path(), 1000)?;
        let rate = transfer(setting)?;
        step(&format!("TCP, {}: {:.1} Gbit/s", kind.name(), rate / 1e9));
        rates.entry(kind).or_default().push(rate);
        running.stop()?;
    }
    meter.ip(&format!("address delete {METER}/30 dev {IN}"))?;
    sender.ip(&format!("address delete {SENDER}/30 dev {OUT}"))
}

/// Bits a second that one connection carries from the sender to the meter's side.
fn transfer(setting: &Setting) -> Result<f64> {
    let listener = setting
        .cable
        .meter
        .inside(|| TcpListener::bind((METER, PORT)))
        .context("listening")?;
    let stream = setting
        .cable
        .sender
        .inside(|| TcpStream::connect((METER, PORT)))
        .context("connecting")?;
    thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(&listener));
        scope
            .spawn(|| write(stream))
            .join()
            .map_err(|_| anyhow!("sending panicked"))??;
        receiver.join().map_err(|_| anyhow!("receiving panicked"))?
    })
}

fn write(mut stream: TcpStream) -> Result<()> {
    pin(GENERATOR_CPU)?;
    let (chunk, end) = (vec![0; CHUNK], Instant::now() + LASTING);
    while Instant::now() < end {
        stream.write_all(&chunk).context("sending")?;
    }
    Ok(())
}

fn receive(listener: &TcpListener) -> Result<f64> {
    pin(METER_CPU)?;
    let (mut stream, _) = listener.accept().context("accepting the connection")?;
    let (mut chunk, mut bytes, begin) = (vec![0; CHUNK], 0, Instant::now());
    loop {
        match stream.read(&mut chunk).context("receiving")? {
            0 => return Ok(8.0 * bytes as f64 / begin.elapsed().as_secs_f64()),
            length => bytes += length,
        }
    }
}
